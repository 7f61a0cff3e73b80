"""What one layer says about packages, read once from its stream; depends on nothing but its bytes.

So it may be kept under the layer's diff ID and merged into every image that has the layer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath

from msgspec import Struct

from entrepot.inventory.packages.catalog import Reader, reader_of
from entrepot.inventory.packages.package import Evidence, EvidenceTooLarge, InvalidEvidence
from entrepot.layers.entry import Kind
from entrepot.layers.limits import DEFAULT_LIMITS, UnpackLimits
from entrepot.layers.paths import parse_path
from entrepot.layers.tar_reader import TarReader
from entrepot.layers.whiteout import Ignored, Opaque, Whiteout, parse_whiteout


class LayerEvidence(Struct):
    """Paths are without leading `/`, undecodable bytes as in `os.fsdecode`."""

    evidence: dict[str, Evidence]
    removed: set[str]
    """Paths of lower layers that are gone, with all below them."""
    opaque: set[str]
    """Folders of which lower layers' content is gone; the root is an empty text."""
    files: set[str]
    """Everything that is no folder: it hides what lower layers have there and below."""
    folders: set[str]
    """They hide a lower layer's file of the same path."""


def read_layer(chunks: Iterator[bytes], limits: UnpackLimits = DEFAULT_LIMITS) -> LayerEvidence:
    """Of a layer's plain tar stream, which is read to its end. Raises InvalidLayer, LayerLimitExceeded.

    A hard link to a file of the same layer is the same evidence; to one of a lower layer, none.
    """
    found = LayerEvidence({}, set(), set(), set(), set())
    tar = TarReader(chunks, limits)
    for entry in tar:
        parts = parse_path(entry.name, limits)
        if not parts:
            continue
        path = os.fsdecode(b"/".join(parts))
        mark = parse_whiteout(parts[-1]) if parts[-1].startswith(b".wh.") else None
        if mark is not None:
            _note_whiteout(found, parts, mark)
            continue
        found.evidence.pop(path, None)  # a later entry of one name replaces the earlier
        if entry.kind is Kind.DIRECTORY:
            found.folders.add(path)
            continue
        found.files.add(path)
        if entry.kind is Kind.FILE:
            reader = reader_of(path, entry.mode, entry.size)
            if reader is not None and entry.segments is None:
                _note(found, path, reader, entry.size, (piece for _, piece in tar.data()))
        elif entry.kind is Kind.HARD_LINK:
            target = os.fsdecode(b"/".join(parse_path(entry.link, limits)))
            if target in found.evidence and reader_of(path, 0o755, 1 << 20) is not None:
                found.evidence[path] = found.evidence[target]
    return found


def _note_whiteout(found: LayerEvidence, parts: tuple[bytes, ...], mark: Whiteout | Opaque | Ignored) -> None:
    if isinstance(mark, Opaque):
        found.opaque.add(os.fsdecode(b"/".join(parts[:-1])))
    elif isinstance(mark, Whiteout):
        found.removed.add(os.fsdecode(b"/".join((*parts[:-1], mark.name))))


def read_tree(root: FilePath) -> LayerEvidence:
    """Of a folder: a root file system or a project. No link is followed, no other file system left out.

    What may not be read is told as a problem. Raises OSError when the folder itself cannot be listed.
    """
    found = LayerEvidence({}, set(), set(), set(), set())
    os.listdir(root)  # noqa: PTH208 - walk is silent about it
    base = os.fspath(root)
    for folder, _folders, names in os.walk(base):
        relative = os.path.relpath(folder, base)
        prefix = "" if relative == "." else relative + "/"
        for name in names:
            path = prefix + name
            try:
                status = os.lstat(os.path.join(folder, name))  # noqa: PTH118
            except OSError:
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            reader = reader_of(path, status.st_mode, status.st_size)
            if reader is not None:
                found.files.add(path)
                _note_file(found, os.path.join(folder, name), path, reader, status.st_size)  # noqa: PTH118
    return found


def _note_file(found: LayerEvidence, where: str, path: str, reader: Reader, size: int) -> None:
    try:
        with open(os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:  # noqa: PTH123
            _note(found, path, reader, size, iter(lambda: stream.read(1 << 20), b""))
    except OSError as error:
        found.evidence[path] = Evidence(problem=(error.strerror or str(error)).lower())


def _note(
    found: LayerEvidence, path: str, reader: Reader, size: int, pieces: Iterable[bytes | memoryview]
) -> None:
    if size > reader.max_bytes and not reader.magic:
        found.evidence[path] = Evidence(problem=f"has {size} bytes; at most {reader.max_bytes} are read")
        return
    data = bytearray()
    for piece in pieces:
        if not data and not bytes(piece[: len(reader.magic)]).startswith(reader.magic):
            return
        data += piece
        if len(data) > reader.max_bytes:
            found.evidence[path] = Evidence(problem=f"has {size} bytes; at most {reader.max_bytes} are read")
            return
    try:
        said = reader.read(path, data if reader.magic else bytes(data))  # type: ignore[arg-type]
    except (InvalidEvidence, EvidenceTooLarge) as error:
        said = Evidence(problem=error.message)
    if said != Evidence():
        found.evidence[path] = said
