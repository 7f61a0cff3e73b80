"""The local store: images by name and ID, safe with many processes at once.

Owns what a name, an ID and an untagged image are; the files are those of any image layout (`layout.files`).
Every change of `index.json` happens under one exclusive lock and replaces the file as a whole, and an
entry is written only when everything it refers to is there. Layers are not fsynced unless `durable`;
they are verified as they arrive.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from entrepot.content.errors import BlobNotFound, ManifestNotFound
from entrepot.content.protocols import ManifestBytes
from entrepot.errors import NotFound
from entrepot.files import make_private
from entrepot.images.entries import Entries, NamedTarget, entry_name
from entrepot.images.errors import IncompleteImage, NoSuchImage, StoreDamaged
from entrepot.images.facts import Facts, ManifestFacts, facts_of_image, facts_of_index
from entrepot.images.image import Image
from entrepot.images.leases import Lease, leased_digests
from entrepot.images.paths import StorePaths
from entrepot.images.privacy import keep_private, make_private_root
from entrepot.images.times import print_time
from entrepot.images.uncompressed import uncompressed_size
from entrepot.images.view import View, image_id
from entrepot.layout.blobs import BlobWriter, Freed
from entrepot.layout.errors import InvalidLayout
from entrepot.layout.files import LayoutFiles
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor, InvalidDescriptor
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import ImageConfig, InvalidImageConfig
from entrepot.oci.manifest import ImageManifest, Index, build_manifest, parse_manifest
from entrepot.oci.reference import Reference


class ImageStore:
    """A store at `root`, made on first use. Thread safe; opening one costs nothing.

    With `durable`, blobs and `index.json` survive a power cut once a call has returned.
    """

    def __init__(self, root: Path | str, *, durable: bool = False) -> None:
        self.paths = StorePaths(Path(root))
        self._files = LayoutFiles(self.paths, durable=durable, make_folder=make_private)
        self.blobs = self._files.blobs
        self._prepared = False
        self._is_private = False

    @property
    def root(self) -> Path:
        return self.paths.root

    # --- reading ----------------------------------------------------------------------------------

    def list(self) -> Sequence[Image]:
        """Every image, the newest first; with all its names."""
        view = self._view()
        return sorted(view.images(), key=_newest_first)

    def resolve(self, name: str) -> Image:
        """By tag, `name@digest`, ID (whole or its beginning) or manifest digest.

        Raises NoSuchImage, AmbiguousImage, InvalidReference.
        """
        return self._view().resolve(name)

    def find(self, reference: Reference) -> Image | None:
        """By exact name: a tag, or a digest when the reference has one."""
        view = self._view()
        entry = view.entries.find(entry_name(reference.with_default_tag()))
        return view.image_of(entry.target) if entry else None

    def find_id(self, image_id: Digest) -> Image | None:
        return next((image for image in self._view().images() if image.id == image_id), None)

    def tags_of(self, reference: Reference) -> Sequence[Reference]:
        """Tags of a repository here, in order."""
        entries = self._read_entries()
        found = [entry.reference() for entry in entries if entry.is_tag]
        return sorted(tag for tag in found if tag.name == reference.name)

    def names_of(self, target: Digest, repository: Reference) -> Sequence[Reference]:
        """What of `repository` points to a manifest, tags and digests."""
        named = [entry for entry in self._read_entries() if entry.name and entry.target.digest == target]
        found = [entry.reference() for entry in named]
        return sorted(reference for reference in found if reference.name == repository.name)

    def blobs_at_registries(self) -> frozenset[Digest]:
        """Configs and layers of everything that has a name by digest: some registry has them."""
        facts = self._read_facts()
        entries = [entry for entry in self._read_entries() if entry.is_digest_name]
        return frozenset(map(Digest.parse, self._reach(entries, facts)))

    def manifest(self, image: Image) -> ImageManifest:
        return self._image_manifest(image.manifest)

    def config(self, image: Image) -> ImageConfig:
        return ImageConfig.parse(self.blobs.read(image.id))

    def image_config(self, manifest: ImageManifest) -> ImageConfig | None:
        """The config of any image manifest here; None for an artifact's, or when it is not here."""
        if not mediatype.is_config(manifest.config.media_type):
            return None
        try:
            return ImageConfig.parse(self.blobs.read(manifest.config.digest))
        except (InvalidImageConfig, BlobNotFound):
            return None

    def open_layer(self, layer: Descriptor) -> io.FileIO:
        """The layer's bytes as they are stored. The caller closes. Raises NotFound."""
        return self.blobs.open(layer.digest)

    def get_manifest(self, digest: Digest, media_type: str | None = None) -> ManifestBytes:
        """Raises ManifestNotFound."""
        if not self.blobs.has(digest):
            raise ManifestNotFound(f"manifest {digest} is not in the store {self.root}")
        raw = self.blobs.read(digest)
        return ManifestBytes(raw, media_type or parse_manifest(raw, None).media_type, digest)

    def layer_sizes(self, image: Image) -> tuple[int, ...]:
        """Unpacked bytes of each layer, base first."""
        manifest = self.manifest(image)
        with self._facts_kept() as facts:
            return tuple(self._layer_size(facts, str(layer.digest), layer.size) for layer in manifest.layers)

    # --- writing ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make what is missing of the store. Every writing call does it first."""
        if not self._prepared:
            make_private_root(self.root)
            self.keep_private()
            self._files.create()
            make_private(self.paths.leases)
            self._prepared = True

    def keep_private(self) -> None:
        """Close folders that others may enter. Looks once; every use of the store asks. Raises
        StoreOfAnother."""
        if not self._is_private:
            keep_private(self.paths)
            self._is_private = True

    def lease(self) -> Lease:
        """Keeps blobs from being collected until they are listed. Use it with `with`."""
        self.prepare()
        return Lease(self.paths.leases, self.paths.lock)

    def add(self, additions: Iterable[tuple[Descriptor, Sequence[Reference]]]) -> None:
        """List manifests or indexes under names (none: as untagged), all in one step.

        Raises IncompleteImage when something they refer to is missing, and lists none then.
        """
        wanted = [(target, [entry_name(name) for name in names]) for target, names in additions]
        now = print_time(datetime.now(UTC))

        def change(entries: Entries) -> Entries:
            for target, names in wanted:
                entries = entries.with_names(names, target, tagged_at=now)
            return entries

        self._update(change)

    def tag(self, image: Image, reference: Reference) -> None:
        """Point a tag to what `image` was found as."""
        self.add([(image.target, [reference.with_default_tag()])])

    def replace_manifest(self, before: Descriptor, target: Descriptor) -> None:
        """Let the tags of a manifest point to another one of the same image. Raises IncompleteImage."""
        self._update(lambda entries: entries.with_target(before.digest, target))

    def remove_names(self, names: Iterable[Reference]) -> None:
        """Forget names; their images stay, untagged if need be. Unknown names are ignored."""
        wanted = [entry_name(name) for name in names]
        self._update(lambda entries: entries.without_names(wanted))

    def remove_image(self, image: Image) -> None:
        """Forget an image with all its names. Content stays until `collect`."""
        self._update(lambda entries: entries.without_targets(image.targets))

    def create_image(
        self,
        config: ImageConfig,
        layers: Sequence[Descriptor],
        *,
        names: Sequence[Reference] = (),
        parent: Digest | None = None,
        lease: Lease | None = None,
    ) -> Image:
        """A new image from a config and layers that are in the store (see `new_blob`).

        The manifest is OCI's, whatever the layers' media types were named in the image they come from: other
        readers of an image layout find no other kind by name.

        Raises NoSuchImage.
        """
        with contextlib.ExitStack() as stack:
            held = lease or stack.enter_context(self.lease())
            held.add([Digest.of(config.raw)])
            config_digest = self.blobs.put_bytes(config.raw)
            manifest = build_manifest(
                Descriptor(mediatype.OCI_CONFIG, config_digest, len(config.raw)),
                [oci_layer(layer) for layer in layers],
            )
            held.add([manifest.digest()])
            self.blobs.put_bytes(manifest.raw)
            if parent is not None:
                self._set_parent(config_digest, parent)
            self.add([(manifest.descriptor(), names)])
        image = self.find_id(config_digest)
        if image is None:  # removed by somebody in this very moment
            raise NoSuchImage(str(config_digest))
        return image

    def new_blob(self) -> BlobWriter:
        """A blob to be written whose digest is not known yet. Hold a lease while it is unlisted."""
        self.prepare()
        return self.blobs.writer()

    def record_layer_size(self, layer: Digest, size: int) -> None:
        """What whoever made a layer counted, before anybody has seen another size of it."""
        self.prepare()
        with self._files.locked():
            facts = self._read_facts()
            if facts.sizes.get(str(layer)) != size:
                facts.sizes[str(layer)] = size
                self._files.replace(self.paths.facts, msgspec.json.encode(facts))

    def collect(self) -> Freed:
        """Remove content no image needs, partial downloads long given up, and what crashes left.

        Content under a lease of a living process stays.
        """
        self.prepare()
        with self._files.locked():
            entries, facts = self._read_entries(), self._read_facts()
            needed = leased_digests(self.paths.leases)
            alive = self._reach(entries, facts)
            freed = self.blobs.remove_all_but(needed | alive)
            self._forget(facts, alive)
        self._files.remove_leftovers()
        return freed

    def give_up_partials(self) -> int:
        """Remove every partial download no process works on; the bytes that frees."""
        self.prepare()
        return self._files.give_up_partials()

    # --- within -----------------------------------------------------------------------------------

    def _view(self) -> View:
        entries = self._read_entries()
        with self._facts_kept() as facts:
            self._complete_facts(entries, facts)
            self._complete_sizes(entries, facts)
        return View(entries, facts, self._read_parents(), lambda layer: facts.sizes.get(layer, 0))

    def _read_entries(self) -> Entries:
        self.keep_private()
        try:
            document = self._files.read_index(trusted=True)
            return Entries() if document is None else Entries.of(document)
        except (InvalidLayout, InvalidDescriptor) as error:
            raise StoreDamaged(
                f"{self.paths.index} is damaged: {error}", hint="no blob is lost; see docs/store.md"
            ) from error

    def _update(self, change: Callable[[Entries], Entries]) -> None:
        self.prepare()
        with self._files.locked():
            before = self._read_entries()
            facts = self._read_facts()
            after = change(before)
            known = len(facts.manifests)
            self._complete_facts(after, facts, only=set(after.targets()) - set(before.targets()))
            after = after.tidied(lambda target: image_id(target, facts))
            if after != before:
                self._files.write_index(after.document())
            if len(facts.manifests) != known:
                self._files.replace(self.paths.facts, msgspec.json.encode(facts))

    @contextlib.contextmanager
    def _facts_kept(self) -> Iterator[Facts]:
        """Facts to read and add to; what was added is written, if the store can be written."""
        facts = self._read_facts()
        known = (len(facts.manifests), len(facts.sizes))
        yield facts
        if (len(facts.manifests), len(facts.sizes)) != known:
            with contextlib.suppress(OSError), self._files.locked():
                current = self._read_facts()
                current.manifests.update(facts.manifests)
                current.sizes.update(facts.sizes)
                self._files.replace(self.paths.facts, msgspec.json.encode(current))

    def _read_facts(self) -> Facts:
        try:
            return msgspec.json.decode(self.paths.facts.read_bytes(), type=Facts)
        except (FileNotFoundError, msgspec.MsgspecError):
            return Facts(manifests={}, sizes={})

    def _read_parents(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self.paths.parents.read_bytes(), type=dict[str, str])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}

    def _set_parent(self, child: Digest, parent: Digest) -> None:
        with self._files.locked():
            parents = self._read_parents()
            parents[str(child)] = str(parent)
            self._files.replace(self.paths.parents, msgspec.json.encode(parents))

    def _complete_facts(self, entries: Entries, facts: Facts, *, only: set[Digest] | None = None) -> None:
        """Add the facts of every target. Raises IncompleteImage when content of one in `only` is missing."""
        for digest, target in entries.targets().items():
            is_new = only is not None and digest in only
            if str(digest) in facts.manifests and not is_new:
                continue
            try:
                self._add_facts(target, facts, check=is_new, done=set())
            except NotFound as error:
                if is_new:
                    raise IncompleteImage(f"{target.digest} cannot be listed: {error}") from error

    def _add_facts(self, target: Descriptor, facts: Facts, *, check: bool, done: set[Digest]) -> None:
        """`done` keeps what several indexes share from being read once for each way to it."""
        if target.digest in done:
            return
        done.add(target.digest)
        manifest = self.get_manifest(target.digest, target.media_type).parse()
        if isinstance(manifest, Index):
            present = {str(child.digest) for child in manifest.manifests if self.blobs.has(child.digest)}
            for child in manifest.manifests:
                if str(child.digest) in present and mediatype.is_manifest(child.media_type):
                    self._add_facts(child, facts, check=check, done=done)
            facts.manifests[str(target.digest)] = facts_of_index(manifest, present)
            return
        found = facts_of_image(manifest, self.image_config(manifest))
        if check:
            missing = [text for text in found.blobs if not self.blobs.has(Digest.parse(text))]
            if missing:
                raise IncompleteImage(f"{target.digest} cannot be listed: {missing[0]} is not in the store")
        facts.manifests[str(target.digest)] = found

    def _image_manifest(self, descriptor: Descriptor) -> ImageManifest:
        manifest = self.get_manifest(descriptor.digest, descriptor.media_type).parse()
        if isinstance(manifest, Index):
            raise StoreDamaged(f"{descriptor.digest} is an index where an image's manifest should be")
        return manifest

    def _layer_size(self, facts: Facts, layer: str, stored: int) -> int:
        size = facts.sizes.get(layer)
        if size is None:
            try:
                size = uncompressed_size(self.paths.blob(Digest.parse(layer)))
            except FileNotFoundError:
                return stored  # a layer others serve
            facts.sizes[layer] = size
        return size

    def _complete_sizes(self, entries: Entries, facts: Facts) -> None:
        for digest in entries.targets():
            found = facts.manifests.get(str(digest), ManifestFacts())
            children = (facts.manifests.get(child.digest, ManifestFacts()) for child in found.children)
            for one in (found, *children):
                if one.diff_ids:
                    for layer in one.layers:
                        self._layer_size(facts, layer, 0)

    def _reach(self, entries: Iterable[NamedTarget], facts: Facts) -> set[str]:
        """Everything the entries need. Raises StoreDamaged rather than let too little stay."""
        needed: set[str] = set()
        reached: set[str] = set()  # not `needed`: what one image has for a blob may be another's manifest
        waiting = [entry.target for entry in entries]
        while waiting:
            target = waiting.pop()
            text = str(target.digest)
            needed.add(text)
            if text in reached:
                continue
            reached.add(text)
            if text not in facts.manifests:
                try:
                    self._add_facts(target, facts, check=False, done=set())
                except ManifestNotFound:
                    continue
            found = facts.manifests[text]
            needed.update(found.blobs)
            for child in found.children:
                needed.add(child.digest)
                if mediatype.is_manifest(child.media_type):
                    waiting.append(Descriptor(child.media_type, Digest.parse(child.digest), child.size))
        return needed

    def _forget(self, facts: Facts, alive: set[str]) -> None:
        kept = {key: value for key, value in facts.manifests.items() if key in alive}
        sizes = {key: value for key, value in facts.sizes.items() if key in alive}
        if len(kept) != len(facts.manifests) or len(sizes) != len(facts.sizes):
            self._files.replace(self.paths.facts, msgspec.json.encode(Facts(kept, sizes)))
        ids = {found.image_id for found in kept.values()}
        parents = self._read_parents()
        remaining = {child: parent for child, parent in parents.items() if child in ids}
        if remaining != parents:
            self._files.replace(self.paths.parents, msgspec.json.encode(remaining))


OCI_LAYER_OF = {
    mediatype.DOCKER_LAYER: mediatype.OCI_LAYER,
    mediatype.DOCKER_LAYER_GZIP: mediatype.OCI_LAYER_GZIP,
    mediatype.DOCKER_LAYER_ZSTD: mediatype.OCI_LAYER_ZSTD,
    mediatype.DOCKER_FOREIGN_LAYER: mediatype.OCI_NONDISTRIBUTABLE_LAYER,
    mediatype.DOCKER_FOREIGN_LAYER_GZIP: mediatype.OCI_NONDISTRIBUTABLE_LAYER_GZIP,
}
"""The same layer by its OCI name."""


def oci_layer(layer: Descriptor) -> Descriptor:
    return msgspec.structs.replace(layer, media_type=OCI_LAYER_OF.get(layer.media_type, layer.media_type))


def _newest_first(image: Image) -> tuple[float, str]:
    return (-image.created.timestamp() if image.created else 0.0, str(image.id))
