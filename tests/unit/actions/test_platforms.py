"""What an index holds, platform by platform."""

from entrepot.actions.platforms import manifest_summaries, platforms_of
from entrepot.images.store import ImageStore
from entrepot.oci.annotations import DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference
from tests.unit.images.makers import add_image


def test_images_attestations_and_what_is_not_here(store: ImageStore) -> None:
    image = add_image(store, "app:1")
    here = Descriptor(
        image.target.media_type, image.target.digest, image.target.size, platform=Platform("linux", "amd64")
    )
    away = Descriptor(here.media_type, Digest.of(b"away"), 4, platform=Platform("linux", "arm64"))
    about = {DOCKER_REFERENCE_TYPE: "attestation-manifest", DOCKER_REFERENCE_DIGEST: str(here.digest)}
    attestation = Descriptor(here.media_type, Digest.of(b"attestation"), 11, annotations=about)
    index = build_index([here, away, attestation])
    store.blobs.put_bytes(index.raw)
    store.add([(index.descriptor(), [Reference.parse("multi:1")])])
    multi = store.resolve("multi:1")
    assert [(one.is_here, one.attests) for one in platforms_of(store, multi)] == [
        (True, None), (False, None), (False, str(here.digest)),
    ]  # fmt: skip
    kinds = [(one["Kind"], one["Available"]) for one in manifest_summaries(store, multi)]
    assert kinds == [("image", True), ("image", False), ("attestation", False)]
    assert platforms_of(store, store.resolve("app:1")) == []
