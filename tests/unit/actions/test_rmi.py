"""`rmi` and `image prune`: what is untagged, what is deleted, what is refused."""

from pathlib import Path

import pytest

from entrepot.actions.rmi import FindUses, Removed, prune_images, remove_image
from entrepot.actions.uses import ContainerUse
from entrepot.images.errors import ImageInUse, NoSuchImage
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.oci.imageconfig import chain_ids
from entrepot.oci.reference import Reference
from tests.unit.images.makers import add_image


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def lines(removed: list[Removed]) -> list[str]:
    return [f"Untagged: {one.untagged}" if one.untagged else f"Deleted: {one.deleted}" for one in removed]


def add_digest(store: ImageStore, image: Image, name: str) -> str:
    reference = Reference.parse(name).with_digest(image.target.digest)
    store.add([(image.target, [reference])])
    return reference.familiar()


def used(image: Image, *, running: bool = False) -> FindUses:
    return lambda one: [ContainerUse("0123456789abcdef" * 4, running)] if one.id == image.id else []


def test_name_is_taken_away_while_others_are_left(store: ImageStore) -> None:
    image = add_image(store, "bb:1", "bb:2")
    assert lines(remove_image("bb:1", store=store)) == ["Untagged: bb:1"]
    assert store.resolve(image.id.hex).tags[0].familiar() == "bb:2"


def test_last_name_takes_the_image_and_its_own_layers(store: ImageStore) -> None:
    add_image(store, "other", layers=("shared",))
    image = add_image(store, "bb:1", layers=("shared", "own"))
    chains = chain_ids(image.diff_ids)
    assert lines(remove_image("bb:1", store=store)) == [
        "Untagged: bb:1", f"Deleted: {image.id}", f"Deleted: {chains[1]}",
    ]  # fmt: skip
    assert [str(one) for one in store.list()] == ["other:latest"]


def test_digests_of_a_repository_go_with_its_last_tag(store: ImageStore) -> None:
    image = add_image(store, "r:5000/bb:1", "two:1")
    by_digest = add_digest(store, image, "r:5000/bb")
    assert lines(remove_image("r:5000/bb:1", store=store)) == [
        "Untagged: r:5000/bb:1",
        f"Untagged: {by_digest}",
    ]
    assert store.resolve("two:1").repo_digests == ()


def test_image_known_by_digest_alone_is_removed_by_it(store: ImageStore) -> None:
    image = add_image(store)
    by_digest = add_digest(store, image, "r:5000/bb")
    removed = lines(remove_image(by_digest, store=store))
    assert removed[:2] == [f"Untagged: {by_digest}", f"Deleted: {image.id}"]


def test_id_removes_an_image_whose_names_are_of_one_repository(store: ImageStore) -> None:
    image = add_image(store, "r:5000/bb:1")
    add_digest(store, image, "r:5000/bb")
    removed = lines(remove_image(image.id.short, store=store))
    assert [line.split(":")[0] for line in removed] == ["Untagged", "Untagged", "Deleted", "Deleted"]
    assert list(store.list()) == []


def test_id_of_an_image_with_names_in_several_repositories_is_refused(store: ImageStore) -> None:
    image = add_image(store, "one:1", "two:1")
    said = f"conflict: unable to delete {image.id.short} (must be forced) - "
    said += "image is referenced in multiple repositories"
    with pytest.raises(ImageInUse) as failure:
        remove_image(image.id.short, store=store)
    assert failure.value.message == said
    removed = lines(remove_image(image.id.short, force=True, store=store))
    assert removed[:3] == ["Untagged: one:1", "Untagged: two:1", f"Deleted: {image.id}"]


def test_name_of_an_image_a_container_uses_is_refused(store: ImageStore) -> None:
    image = add_image(store, "bb:1")
    with pytest.raises(ImageInUse) as failure:
        remove_image("bb:1", store=store, uses=used(image))
    assert failure.value.message == (
        'conflict: unable to remove repository reference "bb:1" (must force) - '
        f"container 0123456789ab is using its referenced image {image.id.short}"
    )
    assert lines(remove_image("bb:1", force=True, store=store, uses=used(image, running=True))) == [
        "Untagged: bb:1"
    ]
    assert store.resolve(image.id.hex).is_dangling


def test_id_of_an_image_a_running_container_uses_is_never_removed(store: ImageStore) -> None:
    image = add_image(store)
    said = f"conflict: unable to delete {image.id.short} (cannot be forced) - "
    said += "image is being used by running container"
    for force in (False, True):
        with pytest.raises(ImageInUse) as failure:
            remove_image(image.id.short, force=force, store=store, uses=used(image, running=True))
        assert failure.value.message == f"{said} 0123456789ab"


def test_id_of_an_image_a_stopped_container_uses_can_be_forced(store: ImageStore) -> None:
    image = add_image(store)
    with pytest.raises(ImageInUse, match=r"must be forced.*stopped container 0123456789ab"):
        remove_image(image.id.short, store=store, uses=used(image))
    assert f"Deleted: {image.id}" in lines(
        remove_image(image.id.short, force=True, store=store, uses=used(image))
    )


def test_parent_of_a_committed_image_stays_and_then_goes_with_it(store: ImageStore) -> None:
    base = add_image(store, "base", layers=("a",))
    child = add_image(store, "child", layers=("a", "b"), parent=base.id)
    assert lines(remove_image("base", store=store)) == ["Untagged: base:latest"]
    with pytest.raises(ImageInUse, match="image has dependent child images"):
        remove_image(base.id.short, force=True, store=store)
    removed = lines(remove_image("child", store=store))
    assert removed[0] == "Untagged: child:latest"
    assert f"Deleted: {child.id}" in removed
    assert f"Deleted: {base.id}" in removed
    assert list(store.list()) == []


def test_parent_is_kept_without_prune(store: ImageStore) -> None:
    base = add_image(store, layers=("a",))
    add_image(store, "child", layers=("a", "b"), parent=base.id)
    remove_image("child", prune=False, store=store)
    assert [image.id for image in store.list()] == [base.id]


def test_unknown_name_is_not_found(store: ImageStore) -> None:
    with pytest.raises(NoSuchImage, match="No such image: nope:latest"):
        remove_image("nope", store=store)


def test_prune_removes_what_has_no_tag(store: ImageStore) -> None:
    dangling = add_image(store, layers=("a",))
    by_digest = add_image(store, layers=("b",))
    add_digest(store, by_digest, "r:5000/x")
    add_image(store, "kept", layers=("c",))
    in_use = add_image(store, layers=("d",))
    pruned = prune_images(store=store, uses=used(in_use))
    deleted = {one.deleted for one in pruned.removed if one.deleted}
    assert {dangling.id, by_digest.id} <= deleted
    assert {image.id for image in store.list()} == {store.resolve("kept").id, in_use.id}
    assert pruned.freed_bytes > 0


def test_prune_of_all_and_by_filters(store: ImageStore) -> None:
    add_image(store, "old", layers=("a",), created="2020-01-01T00:00:00Z")
    labelled = add_image(store, "labelled", layers=("b",), created="2020-01-01T00:00:00Z", Labels={"k": "v"})
    prune_images(all_images=True, filters=["until=2021-01-01T00:00:00Z", "label!=k"], store=store)
    assert [image.id for image in store.list()] == [labelled.id]
    prune_images(all_images=True, filters=["label=k=v"], store=store)
    assert list(store.list()) == []


def test_prune_frees_given_up_downloads(store: ImageStore) -> None:
    add_image(store, "bb")
    (store.paths.partials / f"sha256-{'0' * 64}").write_bytes(b"1234567")
    assert prune_images(store=store).freed_bytes == 7
