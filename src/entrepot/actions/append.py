"""`append`: one layer more, from a tar or a directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from entrepot.actions.commit import store_stream
from entrepot.actions.errors import FileUnusable
from entrepot.actions.import_ import NotATar, read_through
from entrepot.actions.mutate import target_names
from entrepot.actions.places import the_store
from entrepot.images.image import Image
from entrepot.images.leases import Lease
from entrepot.images.store import ImageStore
from entrepot.images.times import print_time
from entrepot.layers.compression import plain_chunks
from entrepot.layers.copy import changed, found_below, write_found
from entrepot.layers.directory import Directory
from entrepot.layers.entry import Entry
from entrepot.layers.errors import InvalidLayer
from entrepot.layers.layer_writer import LayerWriter
from entrepot.layers.reproducible import creation_time, source_date_epoch
from entrepot.layers.tar_writer import TarWriter
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import HistoryEntry, ImageConfig
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference

SCRATCH = "scratch"
"""No image: the new layer is the first."""


def append_layer(
    name: str,
    source: Path | str | BinaryIO,
    target: str | None = None,
    *,
    prefix: str = "",
    message: str = "",
    platform: str | None = None,
    timestamp_s: int | None = None,
    store: ImageStore | Path | str | None = None,
) -> Image:
    """A new image of `name` (or `scratch`) and a layer with a tar's or directory's content.

    A tar is taken byte for byte once inflated, and read through first. A directory's files belong to root and
    lie below
    `prefix`; with `timestamp_s` or SOURCE_DATE_EPOCH the same directory gives the same layer.
    Raises NoSuchImage, FileUnusable, InvalidLayer, InvalidReference.
    """
    place = the_store(store)
    epoch_s = source_date_epoch() if timestamp_s is None else timestamp_s
    image = None if name == SCRATCH else place.resolve(name)
    config = place.config(image) if image else _empty_config(platform)
    names = target_names(name, target, image) if image else _names(target)
    with place.lease() as lease:
        layers = list(place.manifest(image).layers) if image else []
        lease.add([layer.digest for layer in layers])
        layer, diff_id = _store(place, source, prefix, lease, epoch_s)
        created = print_time(creation_time(epoch_s))
        entry = HistoryEntry(created=created, created_by=f"append {_label(source)}", comment=message)
        grown = config.with_changes(
            diff_ids=[*config.diff_ids, diff_id], history=[*config.history, entry], created=created
        )
        return place.create_image(grown, [*layers, layer], names=names, lease=lease)


def _names(target: str | None) -> Sequence[Reference]:
    return [Reference.parse(target).with_default_tag()] if target else []


def _label(source: Path | str | BinaryIO) -> str:
    return Path(source).name if isinstance(source, (str, Path)) else "-"


def _empty_config(platform: str | None) -> ImageConfig:
    wanted = Platform.parse(platform) if platform else Platform.host()
    return ImageConfig.build({**wanted.to_json(), "config": {}, "rootfs": {"type": "layers", "diff_ids": []}})


def _store(
    place: ImageStore, source: Path | str | BinaryIO, prefix: str, lease: Lease, epoch_s: int | None
) -> tuple[Descriptor, Digest]:
    if not isinstance(source, (str, Path)):
        return _store_tar(place, source, "stdin", lease)
    path = Path(source)
    if path.is_dir():
        return store_stream(
            place, lambda writer: _write_directory(writer, path, prefix), lease, epoch_s=epoch_s
        )
    try:
        stream = path.open("rb")
    except OSError as error:
        raise FileUnusable(f"open {path}: {(error.strerror or 'unreadable').lower()}") from error
    with stream:
        return _store_tar(place, stream, str(path), lease)


def _write_directory(writer: TarWriter, path: Path, prefix: str) -> None:
    def owned_by_root(entry: Entry) -> None:
        entry.uid = entry.gid = 0

    with Directory(path) as directory:
        shown = os.fsencode(prefix.strip("/"))
        write_found(writer, changed(found_below(directory.fd, b".", shown), owned_by_root))


def _store_tar(place: ImageStore, stream: BinaryIO, label: str, lease: Lease) -> tuple[Descriptor, Digest]:
    with place.new_blob() as blob:
        out = LayerWriter(blob, "gzip")
        try:
            size = read_through(_teed(plain_chunks(stream), out))
            out.close()
        except InvalidLayer as error:
            raise NotATar(f"{label} is not a tar of a file system: {error.message}") from error
        finally:
            out.abandon()
        lease.add([out.digest])
        blob.commit(out.digest)
    with contextlib.suppress(OSError):
        place.record_layer_size(out.digest, size)
    return Descriptor(mediatype.OCI_LAYER_GZIP, out.digest, out.size), out.diff_id


def _teed(chunks: Any, out: LayerWriter) -> Any:
    for chunk in chunks:
        out.write(chunk)
        yield chunk
