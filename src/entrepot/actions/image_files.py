"""The files of an image wherever it is, without pulling or unpacking it.

Layers are read from the topmost down, each to its end and checked against its digest: a name may come twice
in a layer, and what is shown must be what the image is. Looking for one path stops at the layer that settles
it; its content is kept from the first reading where that is possible.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from entrepot.actions.endpoints import KINDS, Endpoint, Ends, OpenOrigin, open_origin, parse_endpoint
from entrepot.actions.places import the_settings, the_store
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import CancelToken
from entrepot.content.verify import VerifiedReader
from entrepot.errors import InvalidInput, NotFound
from entrepot.images.errors import NoSuchImage
from entrepot.images.store import ImageStore
from entrepot.inventory.files.entries import Capture, LayerEntry, What, read_layer, whole_content
from entrepot.inventory.files.shown import parse_shown, path_text
from entrepot.inventory.files.tree import Sight, Tree, TreeNode, walk
from entrepot.layers.chunks import Writable
from entrepot.layers.compression import plain_chunks, prefetched
from entrepot.layers.entry import Entry, Kind
from entrepot.layers.paths import Path as TreePath
from entrepot.layers.paths import join
from entrepot.layers.tar_reader import TarReader
from entrepot.layers.tar_writer import TarWriter
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.imageconfig import MAX_BYTES as MAX_CONFIG_BYTES
from entrepot.oci.imageconfig import ImageConfig
from entrepot.oci.manifest import ImageManifest
from entrepot.oci.mediatype import is_config
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference, parse_any_reference
from entrepot.transfer.plan import PlatformChoice
from entrepot.transfer.reading import read_plan

_SPOOLED_BYTES = 8 << 20
"""A file's content beyond this goes to a temporary file."""


class NoSuchFile(NotFound):
    """The image has nothing at the path."""

    code: ClassVar[str] = "no-such-file"


class NotAFile(InvalidInput):
    """There is something at the path, but no content to show."""

    code: ClassVar[str] = "not-a-file"


class HasNoFiles(InvalidInput):
    """What was named is no image of file trees."""

    code: ClassVar[str] = "has-no-files"


def place_of(name: str, store: ImageStore) -> Endpoint:
    """Where an image is: as endpoints are written, or a bare name that the store has, else a registry's.

    Raises InvalidReference, NoSuchImage for the beginning of an ID that the store has not.
    """
    if name.startswith("docker://") or any(name.startswith(f"{kind}:") for kind in KINDS if kind != "docker"):
        return parse_endpoint(name)
    try:
        store.resolve(name)
    except NoSuchImage:
        if not isinstance(parse_any_reference(name), Reference):
            raise
        return parse_endpoint(f"docker://{name}")
    return parse_endpoint(f"store:{name}")


@dataclass
class ImageFiles:
    """An open image. Layers are numbered from 0, the lowest; lists that were read are kept."""

    origin: OpenOrigin
    name: str
    manifest: ImageManifest
    config: ImageConfig
    scratch: Path
    """Where content that is too long for memory waits."""
    _lists: dict[int, list[LayerEntry]] = field(default_factory=dict)
    _kept: dict[tuple[int, int], tempfile.SpooledTemporaryFile[bytes]] = field(default_factory=dict)
    _shared: dict[int, tuple[ImageFiles, int]] = field(default_factory=dict)
    _cleanup: ExitStack = field(default_factory=ExitStack)

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        return self.manifest.layers

    def entries(
        self, layer: int, *, digests: bool = False, wanted: TreePath | None = None
    ) -> list[LayerEntry]:
        """What a layer says; read once. `wanted`: the path whose content will be asked for."""
        if layer in self._shared:
            owner, number = self._shared[layer]
            return owner.entries(number, digests=digests)
        known = self._lists.get(layer)
        if known is None or (digests and any(_lacks_digest(each) for each in known)):
            capture = self._capture(layer, wanted) if wanted else None
            with self._plain(layer) as chunks:
                known = list(read_layer(chunks, digests=digests, capture=capture))
            self._lists[layer] = known
        return known

    def share_lists(self, other: ImageFiles) -> None:
        """Layers that both have are read once, whichever is asked first. Call it before anything is read."""
        places = {layer.digest: number for number, layer in enumerate(other.layers)}
        self._shared = {
            number: (other, places[layer.digest])
            for number, layer in enumerate(self.layers)
            if layer.digest in places
        }

    def layer_sizes(self) -> list[tuple[str, int]]:
        """Diff ID and bytes of all files of each layer, lowest first."""
        names = [str(diff_id) for diff_id in self.config.diff_ids]
        return [
            (
                names[number] if number < len(names) else str(layer.digest),
                sum(entry.size for entry in self.entries(number)),
            )
            for number, layer in enumerate(self.layers)
        ]

    def tree(self, *, digests: bool = False) -> Tree:
        """The whole of it. Raises InvalidLayer, LayerLimitExceeded, VerificationFailed, Unavailable."""
        tree = Tree()
        for layer in range(len(self.layers)):
            tree.apply(self.entries(layer, digests=digests), layer)
        return tree

    def find(self, path: str, *, follow_last: bool = True) -> tuple[TreePath, TreeNode]:
        """What is at a path, links followed, reading no more layers than it takes. Raises NoSuchFile.

        Of a folder, what is in it is not known by then: that takes the whole `tree`.
        """
        wanted = parse_shown(path)
        for bottom in range(len(self.layers) - 1, -1, -1):
            self.entries(bottom, wanted=wanted)
            tree = Tree(complete=bottom == 0)
            for layer in range(bottom, len(self.layers)):
                tree.apply(self.entries(layer), layer)
            sight, wanted = tree.resolve(wanted, follow_last=follow_last)
            if sight is Sight.UNKNOWN:
                continue
            _, node = tree.find(wanted)
            if node is None:
                break
            return wanted, node
        raise NoSuchFile(f"{self.name} has no {path}", hint=f"list what is there: entrepot files {self.name}")

    def content(self, node: TreeNode) -> Iterator[bytes | memoryview]:
        """A file's bytes, holes as zeros. Raises NotAFile."""
        entry = node.entry
        if entry.what is not What.FILE:
            raise NotAFile(f"{path_text(entry.path)} is a {entry.what.name.lower().replace('_', ' ')}")
        kept = self._kept.get((node.source, entry.offset))
        if kept is not None:
            kept.seek(0)
            while piece := kept.read(1 << 20):
                yield piece
            return
        for _, data in self.contents({(node.source, entry.offset)}):
            yield from whole_content(data, entry.size)

    def contents(
        self, wanted: set[tuple[int, int]]
    ) -> Iterator[tuple[tuple[int, int], Iterator[tuple[int, memoryview]]]]:
        """Files by (layer, offset), in the order of the layers; the data of each before the next."""
        for layer in sorted({layer for layer, _ in wanted}):
            with self._plain(layer) as chunks:
                reader = TarReader(chunks)
                for raw in reader:
                    if raw.kind is Kind.FILE and (layer, reader.position) in wanted:
                        yield (layer, reader.position), reader.data()

    def _capture(self, layer: int, wanted: TreePath) -> Capture:
        def target(entry: LayerEntry) -> Writable | None:
            if entry.path != wanted or entry.segments is not None:
                return None
            file = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES, "w+b", dir=str(self.scratch))  # noqa: SIM115 - closed with the image
            self._cleanup.callback(file.close)
            self._kept[layer, entry.offset] = file
            return file

        return target

    @contextmanager
    def _plain(self, layer: int) -> Iterator[Iterator[bytes]]:
        descriptor = self.layers[layer]
        if "encrypted" in descriptor.media_type:
            raise HasNoFiles(
                f"layer {layer + 1} of {self.name} is encrypted: what is in it can't be told without its key"
            )
        with self.origin.source.open_blob(descriptor) as stream:
            # Inflating on a thread of its own; the reader ends with the digest's check.
            chunks = prefetched(plain_chunks(VerifiedReader(stream, descriptor)))
            try:
                yield chunks
            finally:
                chunks.close()  # type: ignore[attr-defined]  # a generator

    def close(self) -> None:
        self._cleanup.close()


def _lacks_digest(entry: LayerEntry) -> bool:
    return entry.what is What.FILE and not entry.sha256 and entry.segments is None


@contextmanager
def open_image_files(
    name: str,
    *,
    platform: str | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    cancel: CancelToken | None = None,
) -> Iterator[ImageFiles]:
    """Open an image of the store, a registry, a layout, an archive or a daemon to look into it.

    Raises NotFound, NoMatchingPlatform, HasNoFiles, InvalidReference, Unavailable.
    """
    place = the_store(store)
    wanted = PlatformChoice.one(Platform.parse(platform) if platform else Platform.host())
    with (
        Ends(place, the_settings(settings, insecure=insecure), cancel) as ends,
        open_origin(place_of(name, place), ends) as origin,
    ):
        root = origin.source.get_manifest(origin.reference)
        manifest = read_plan(origin.source, root, platforms=wanted).top.parse()
        if not isinstance(manifest, ImageManifest) or not is_config(manifest.config.media_type):
            raise HasNoFiles(f"{name} is no image: it has no files to look at")
        place.prepare()
        files = ImageFiles(origin, name, manifest, _config(origin, manifest), place.paths.tmp)
        try:
            yield files
        finally:
            files.close()


def _config(origin: OpenOrigin, manifest: ImageManifest) -> ImageConfig:
    if manifest.config.size > MAX_CONFIG_BYTES:
        raise HasNoFiles(f"the image's config has {manifest.config.size} bytes")
    with (
        origin.source.open_blob(manifest.config) as stream,
        VerifiedReader(stream, manifest.config) as reader,
    ):
        return ImageConfig.parse(reader.read())


def write_tar(files: ImageFiles, path: str, out: Writable) -> None:
    """A file or folder of the image as a tar, named as `cp` names it: by its last component, `SRC/.` by `.`.

    Folders, links and devices come first, then files layer by layer. Raises NoSuchFile.
    """
    whole = path.rstrip("/").endswith("/.") or not parse_shown(path)
    real, node = files.find(path, follow_last=whole or path.endswith("/"))
    base: TreePath = (b".",) if whole else real[-1:]
    if node.is_directory:
        node = files.tree().find(real)[1] or node
    writer = TarWriter(out)
    names: dict[tuple[int, int], list[tuple[bytes, LayerEntry]]] = {}
    for here, each in [((), node), *walk(node)]:
        name = join((*base, *here))
        if each.entry.what is What.FILE:
            names.setdefault((each.source, each.entry.offset), []).append((name, each.entry))
        else:
            writer.add(tar_entry(each.entry, name))
    for key, data in files.contents(set(names)):
        (first, entry), *others = names[key]
        writer.add(tar_entry(entry, first), whole_content(data, entry.size))
        for other, _ in others:
            writer.add(Entry(other, Kind.HARD_LINK, entry.mode, entry.uid, entry.gid, link=first))
    writer.close()


KIND_OF: dict[What, Kind] = {
    What.FILE: Kind.FILE,
    What.HARD_LINK: Kind.HARD_LINK,
    What.SYMLINK: Kind.SYMLINK,
    What.CHAR_DEVICE: Kind.CHAR_DEVICE,
    What.BLOCK_DEVICE: Kind.BLOCK_DEVICE,
    What.DIRECTORY: Kind.DIRECTORY,
    What.FIFO: Kind.FIFO,
}


def tar_entry(entry: LayerEntry, name: bytes) -> Entry:
    """As a tar's entry of that name."""
    return Entry(
        name,
        KIND_OF[entry.what],
        entry.mode,
        entry.uid,
        entry.gid,
        entry.size,
        entry.mtime_ns,
        entry.link,
        entry.major,
        entry.minor,
        entry.xattrs,
        entry.segments,
    )
