"""What is in an image, an archive of one or a folder: the packages that `sbom` lists and `scan` looks up."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from entrepot.actions.endpoints import PATH_KINDS, Endpoint, Ends, OpenOrigin, open_origin, parse_endpoint
from entrepot.actions.errors import BadRequest, FileUnusable
from entrepot.actions.places import the_settings, the_store
from entrepot.content.protocols import Source
from entrepot.content.verify import VerifiedReader, verify_manifest
from entrepot.images.errors import NoSuchImage
from entrepot.images.store import ImageStore
from entrepot.inventory.packages.layer import LayerEvidence, read_layer, read_tree
from entrepot.inventory.packages.merge import Inventory, merge
from entrepot.layers.compression import plain_chunks, prefetched, verified_diff
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import MAX_BYTES as MAX_CONFIG_BYTES
from entrepot.oci.imageconfig import ImageConfig
from entrepot.oci.manifest import ImageManifest, Index
from entrepot.oci.platform import Platform
from entrepot.transfer.plan import PlatformChoice, select_children

if TYPE_CHECKING:
    from entrepot.client.settings import ClientSettings


class Examined(Struct, frozen=True):
    """What was looked into, and what it has."""

    name: str
    inventory: Inventory
    digest: str = ""
    """Of the image's manifest; empty for a folder."""
    layers: tuple[str, ...] = ()
    """Diff IDs, the lowest first."""


def inventory_of(
    target: str,
    *,
    platform: str | None = None,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> Examined:
    """Of an image (in the store, else in its registry), an archive, an image layout or any other folder.

    Each layer is read once, as a stream, and verified; nothing is unpacked. Raises what opening the place
    raises, InvalidLayer, VerificationFailed.
    """
    place = Path(target)
    if _is_path(target) and place.is_dir() and not (place / "oci-layout").is_file():
        return Examined(target, merge([read_tree(place)]))
    with ExitStack() as stack:
        the = the_store(store)
        ends = stack.enter_context(Ends(the, the_settings(settings)))
        origin = _open(target, place, the, ends, stack)
        manifest, digest = _image(origin, Platform.parse(platform) if platform else None)
        return _read(str(origin.name) if origin.name else target, origin.source, manifest, digest)


def _is_path(target: str) -> bool:
    return target.startswith(("/", ".")) or Path(target).exists()


def _open(target: str, place: Path, store: ImageStore, ends: Ends, stack: ExitStack) -> OpenOrigin:
    if _is_path(target):
        if place.is_dir():
            return stack.enter_context(open_origin(Endpoint("oci", path=place), ends))
        if not place.exists():
            raise FileUnusable(f"{target}: no such file or directory")
        return stack.enter_context(open_origin(Endpoint("oci-archive", path=place), ends))
    endpoint = parse_endpoint(target)
    if endpoint.kind == "docker" and not target.startswith("docker://"):
        try:
            store.resolve(target)
        except NoSuchImage:
            pass
        else:
            endpoint = Endpoint("store", endpoint.reference, name=target)
    if endpoint.kind in PATH_KINDS and endpoint.path is not None and not endpoint.path.exists():
        raise FileUnusable(f"{endpoint.path}: no such file or directory")
    return stack.enter_context(open_origin(endpoint, ends))


def _image(origin: OpenOrigin, platform: Platform | None) -> tuple[ImageManifest, Digest]:
    found = origin.source.get_manifest(origin.reference)
    verify_manifest(found)
    parsed = found.parse()
    if isinstance(parsed, Index):
        choice = PlatformChoice.one(platform) if platform else PlatformChoice.host()
        found = origin.source.get_manifest(select_children(parsed, choice)[0].digest)
        verify_manifest(found)
        parsed = found.parse()
    if not isinstance(parsed, ImageManifest) or not parsed.is_image:
        raise BadRequest(
            f"{origin.name or origin.reference} is no image that has files: its packages cannot be told"
        )
    return parsed, found.digest


def _read(name: str, source: Source, manifest: ImageManifest, digest: Digest) -> Examined:
    config = _config(source, manifest.config)
    if len(config.diff_ids) != len(manifest.layers):
        raise BadRequest(
            f"{name}: its config names {len(config.diff_ids)} layers, its manifest {len(manifest.layers)}"
        )
    known: dict[Digest, LayerEvidence] = {}
    for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        if diff_id in known:
            continue
        with source.open_blob(layer) as stream:
            known[diff_id] = read_layer(prefetched(verified_diff(plain_chunks(stream), diff_id)))
    return Examined(
        name,
        merge([known[diff_id] for diff_id in config.diff_ids]),
        str(digest),
        tuple(map(str, config.diff_ids)),
    )


def _config(source: Source, descriptor: Descriptor) -> ImageConfig:
    if descriptor.size > MAX_CONFIG_BYTES:
        raise BadRequest(f"the image's config has {descriptor.size} bytes; the limit is {MAX_CONFIG_BYTES}")
    with source.open_blob(descriptor) as stream:
        return ImageConfig.parse(VerifiedReader(stream, descriptor).read())
