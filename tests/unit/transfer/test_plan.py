import pytest

from entrepot.content.graph import Node, load_node
from entrepot.content.protocols import ManifestBytes
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import Index, build_index, build_manifest
from entrepot.oci.platform import Platform
from entrepot.transfer.errors import CopyTooLarge, NoMatchingPlatform
from entrepot.transfer.limits import TransferLimits
from entrepot.transfer.plan import (
    PlatformChoice,
    make_plan,
    mount_candidates,
    narrowed_index,
    select_children,
)
from entrepot.transfer.progress import Role

AMD64, ARM64, ARMV7 = (Platform.parse(text) for text in ("linux/amd64", "linux/arm64", "linux/arm/v7"))


def blob(text: str, media_type: str = mediatype.OCI_LAYER) -> Descriptor:
    return Descriptor(media_type, Digest.of(text.encode()), len(text))


def image(*layers: str) -> Node:
    built = build_manifest(
        blob("config" + "".join(layers), mediatype.OCI_CONFIG), [blob(one) for one in layers]
    )
    return load_node(ManifestBytes.from_manifest(built))


def entry(name: str, platform: Platform | None, **annotations: str) -> Descriptor:
    found = blob(name, mediatype.OCI_MANIFEST)
    named = {key.replace("_", "."): value for key, value in annotations.items()}
    return Descriptor(found.media_type, found.digest, found.size, platform=platform, annotations=named)


def index(*entries: Descriptor) -> Index:
    return build_index(list(entries), annotations={"kept": "yes"})


def attestation(of: Descriptor) -> Descriptor:
    annotations = {"vnd.docker.reference.digest": str(of.digest)}
    found = blob(f"attestation {of.digest}", mediatype.OCI_MANIFEST)
    return Descriptor(
        found.media_type,
        found.digest,
        found.size,
        platform=Platform("unknown", "unknown"),
        annotations=annotations,
    )


AMD, ARM = entry("amd", AMD64), entry("arm", ARM64)
WHOLE = index(AMD, attestation(AMD), ARM, attestation(ARM))
ROOT = ManifestBytes.from_manifest(WHOLE)


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (PlatformChoice.one(AMD64), [AMD]),
        (PlatformChoice.one(ARM64), [ARM]),
        (PlatformChoice.some([ARM64, AMD64]), [ARM, AMD]),
        (PlatformChoice.some([AMD64, AMD64]), [AMD]),
    ],
    ids=["one", "other", "two", "twice the same"],
)
def test_images_are_chosen_by_platform(choice: PlatformChoice, chosen: list[Descriptor]) -> None:
    assert list(select_children(WHOLE, choice)) == chosen


def test_a_platform_that_is_not_there_is_said_in_dockers_words() -> None:
    with pytest.raises(NoMatchingPlatform) as caught:
        select_children(WHOLE, PlatformChoice.one(Platform.parse("linux/s390x")))
    assert str(caught.value) == "no matching manifest for linux/s390x in the manifest list entries"
    assert caught.value.available == ("linux/amd64", "linux/arm64")


def test_a_narrowed_index_keeps_attestations_and_annotations() -> None:
    narrowed = narrowed_index(WHOLE, [ARM])
    assert [one.digest for one in narrowed.manifests] == [ARM.digest, attestation(ARM).digest]
    assert narrowed.annotations == {"kept": "yes"}
    assert narrowed.media_type == WHOLE.media_type


def test_shared_blobs_are_planned_once_in_the_order_of_the_manifest() -> None:
    first, second = image("a", "b"), image("b", "c")
    plan = make_plan(first.manifest, second.manifest, [first, second, first], TransferLimits())
    assert (plan.root, plan.top) == (first.manifest, second.manifest)
    assert [one.descriptor.size for one in plan.blobs if one.role is Role.LAYER] == [1, 1, 1]
    assert [one.descriptor.digest for one in plan.blobs if one.role is Role.LAYER] == [
        blob("a").digest,
        blob("b").digest,
        blob("c").digest,
    ]
    assert [one.role for one in plan.blobs].count(Role.CONFIG) == 2
    assert plan.manifests == (first, second)
    assert plan.total_bytes == sum(one.descriptor.size for one in plan.blobs)


def test_a_limit_on_bytes_is_kept_before_anything_moves() -> None:
    with pytest.raises(CopyTooLarge):
        make_plan(ROOT, ROOT, [image("a"), image("b")], TransferLimits(max_total_bytes=5))


def test_mount_candidates_are_few_and_each_is_asked_once() -> None:
    assert mount_candidates(["a", "b", "a", "c", "d"]) == ("a", "b", "c")
