"""`import`: an image of one layer from a tar of a root file system.

The layer is the given tar byte for byte, once inflated. gzip and zstd input is kept as it came; anything
else is stored as gzip. The tar is read through to its end before the image is listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, ClassVar

from entrepot.actions.errors import FileUnusable
from entrepot.actions.places import the_settings, the_store
from entrepot.client.settings import ClientSettings
from entrepot.errors import InvalidInput
from entrepot.images.changes import apply_changes
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.images.times import print_time
from entrepot.layers.chunks import ChunkBuffer
from entrepot.layers.compression import (
    Compression,
    inflated_chunks,
    plain_chunks,
    sniff_compression,
)
from entrepot.layers.errors import InvalidLayer
from entrepot.layers.layer_writer import LayerWriter
from entrepot.layers.paths import parse_path
from entrepot.layers.tar_reader import TarReader
from entrepot.layout.blobs import BlobWriter
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.imageconfig import HistoryEntry, ImageConfig
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference


class NotATar(InvalidInput):
    """What was given is no tar of a file system."""

    code: ClassVar[str] = "not-a-tar"


def import_(
    source: Path | str | BinaryIO,
    name: str | None = None,
    *,
    changes: Sequence[str] = (),
    message: str | None = None,
    platform: str | None = None,
    config_from: str | None = None,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> Image:
    """Make an image. `source` is a path, an `http(s)://` address or an open file.

    `config_from` names an image whose config (command, environment, labels …) the new one takes over;
    `changes` are Dockerfile instructions applied on top. Without `name` the image is untagged.
    Raises FileUnusable, NotATar, InvalidChange, InvalidReference.
    """
    place = the_store(store)
    names = [Reference.parse(name).with_default_tag()] if name else []
    template = place.config(place.resolve(config_from)) if config_from else None
    # Mistakes in the words are told before gigabytes are read.
    runtime = apply_changes(template.runtime if template else {}, changes)
    wanted = Platform.parse(platform) if platform else template.platform if template else Platform.host()
    with _opened(source, the_settings(settings)) as (stream, label, origin), place.lease() as lease:
        with place.new_blob() as blob:
            try:
                compression, diff_id, unpacked = _store_layer(stream, blob)
            except InvalidLayer as error:
                raise NotATar(f"{label} is not a tar of a file system: {error.message}") from error
            digest, size = blob.digest(), blob.size
            lease.add([digest])
            blob.commit(digest)
        place.record_layer_size(digest, unpacked)
        config = _config(template, runtime, diff_id, wanted, message or f"Imported from {origin}")
        layer = Descriptor(
            mediatype.OCI_LAYER_ZSTD if compression == "zstd" else mediatype.OCI_LAYER_GZIP, digest, size
        )
        return place.create_image(config, [layer], names=names, lease=lease)


def _config(
    template: ImageConfig | None,
    runtime: dict[str, object],
    diff_id: Digest,
    platform: Platform,
    comment: str,
) -> ImageConfig:
    created = print_time(datetime.now(UTC))
    document: dict[str, object] = {
        "created": created,
        **({"author": template.author} if template and template.author else {}),
        **platform.to_json(),
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": [str(diff_id)]},
        "history": [HistoryEntry(created=created, comment=comment).to_json()],
    }
    return ImageConfig.build(document)


def _store_layer(stream: _Input, blob: BlobWriter) -> tuple[Compression, Digest, int]:
    """Write the layer, reading the tar through: how it is stored, its diff ID, the bytes of its files.

    Raises InvalidLayer.
    """
    head = stream.peek(8)
    compression = sniff_compression(head)
    hasher = Hasher()
    if compression is not None:
        unpacked = read_through(_hashed(plain_chunks(_Copying(stream, blob)), hasher))
        return compression, hasher.digest(), unpacked
    writer = LayerWriter(blob, "gzip")
    try:
        unpacked = read_through(_copied(_hashed(inflated_chunks(head, stream), hasher), writer))
        writer.close()
    finally:
        writer.abandon()
    return "gzip", hasher.digest(), unpacked


def read_through(chunks: Iterator[bytes]) -> int:
    """Every header and every byte, to the end of the stream; the size of all files together. Raises
    InvalidLayer, also for names that could never be unpacked."""
    buffer = ChunkBuffer(chunks)
    entries = size = 0
    for entry in TarReader(buffer):
        parse_path(entry.name)
        entries += 1
        size += entry.size
    for _ in buffer.rest():
        pass
    if not entries and buffer.position == 0:
        raise InvalidLayer("it is empty")
    return size


def _hashed(chunks: Iterator[bytes], hasher: Hasher) -> Iterator[bytes]:
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk


def _copied(chunks: Iterator[bytes], writer: LayerWriter) -> Iterator[bytes]:
    for chunk in chunks:
        writer.write(chunk)
        yield chunk


class _Input:
    """What was given, with a look at its beginning."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._head = b""

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (more := self._stream.read(size - len(self._head))):
            self._head += more
        return self._head

    def read(self, size: int, /) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._stream.read(size) or b""


class _Copying:
    """The input, stored as it is read."""

    def __init__(self, stream: _Input, blob: BlobWriter) -> None:
        self._stream = stream
        self._blob = blob

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        if data:
            self._blob.write(data)
        return data


@contextmanager
def _opened(source: Path | str | BinaryIO, settings: ClientSettings) -> Iterator[tuple[_Input, str, str]]:
    """The bytes, what messages call them, and what the image's history says of where they came from.

    A path of this machine says nothing to others, so that is `-` as for stdin; docker does so, too.
    """
    if not isinstance(source, (str, Path)):
        yield _Input(source), "stdin", "-"
        return
    text = str(source)
    if text.startswith(("http://", "https://")):
        from entrepot.actions.download import open_url

        with open_url(text, settings=settings) as body:
            yield _Input(body), text, text
        return
    try:
        file = Path(text).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        reason = (error.strerror or "cannot be opened").lower()
        raise FileUnusable(f"open {text}: {reason}") from error
    with file:
        yield _Input(file), text, "-"
