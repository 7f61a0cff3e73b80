"""`--filter` of image listings."""

from datetime import UTC, datetime

import pytest

from entrepot.actions.errors import InvalidFilter
from entrepot.actions.filters import matches, parse_moment
from entrepot.actions.images import list_images
from entrepot.images.errors import NoSuchImage
from entrepot.images.store import ImageStore
from entrepot.oci.reference import Reference
from tests.unit.images.makers import add_image


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    store = ImageStore(tmp_path_factory.mktemp("filters") / "store")
    add_image(store, "bb:1", "team/app:1", layers=("a",), created="2024-01-01T00:00:00Z")
    add_image(store, "bb:2", layers=("b",), created="2024-02-01T00:00:00Z", Labels={"k": "v"})
    base = add_image(store, layers=("c",), created="2024-03-01T00:00:00Z")
    add_image(store, "child", layers=("c", "d"), created="2024-04-01T00:00:00Z", parent=base.id)
    add_image(store, layers=("e",), created="2024-05-01T00:00:00Z")
    return store


def found(store: ImageStore, *filters: str, name: str | None = None, all_images: bool = False) -> list[str]:
    images = list_images(name, filters=filters, all_images=all_images, store=store)
    return [" ".join(tag.familiar() for tag in image.tags) or "<none>" for image in images]


CASES: list[tuple[list[str], list[str]]] = [
    ([], ["<none>", "child:latest", "bb:2", "bb:1 team/app:1"]),
    (["dangling=true"], ["<none>"]),
    (["dangling=false"], ["child:latest", "bb:2", "bb:1 team/app:1"]),
    (["label=k"], ["bb:2"]),
    (["label=k=v"], ["bb:2"]),
    (["label=k=w"], []),
    (["before=bb:2"], ["bb:1 team/app:1"]),
    (["since=bb:1"], ["<none>", "child:latest", "bb:2"]),
    (["since=bb:1", "before=child"], ["bb:2"]),
    (["until=2024-02-15T00:00:00Z"], ["bb:2", "bb:1 team/app:1"]),
    (["reference=bb"], ["bb:2", "bb:1"]),
    (["reference=bb:1"], ["bb:1"]),
    (["reference=b*"], ["bb:2", "bb:1"]),
    (["reference=*:1"], ["bb:1"]),
    (["reference=team/*"], ["team/app:1"]),
    (["reference=*/*:1", "reference=child"], ["child:latest", "team/app:1"]),
    (["reference=[bc]?:2"], ["bb:2"]),
    (["reference=nope"], []),
]


@pytest.mark.parametrize(("filters", "expected"), CASES, ids=[" ".join(c[0]) or "none" for c in CASES])
def test_filter_keeps_the_right_images(store: ImageStore, filters: list[str], expected: list[str]) -> None:
    assert found(store, *filters) == expected


def test_name_argument_is_a_pattern_too(store: ImageStore) -> None:
    assert found(store, name="bb") == ["bb:2", "bb:1"]
    assert found(store, name="bb:1") == ["bb:1"]


def test_all_shows_the_parents_of_committed_images(store: ImageStore) -> None:
    assert found(store, all_images=True).count("<none>") == 2


@pytest.mark.parametrize("text", ["foo=bar", "dangling=perhaps", "label", "until=whenever"])
def test_unknown_filter_is_named(store: ImageStore, text: str) -> None:
    with pytest.raises(InvalidFilter, match="invalid filter"):
        found(store, text)


def test_unknown_filter_is_said_in_dockers_words(store: ImageStore) -> None:
    with pytest.raises(InvalidFilter, match=r"^invalid filter 'foo'$"):
        found(store, "foo=bar")


def test_image_to_compare_with_must_exist(store: ImageStore) -> None:
    with pytest.raises(NoSuchImage):
        found(store, "before=nope")


def test_moments_are_times_or_ages() -> None:
    now = datetime(2024, 1, 2, 12, tzinfo=UTC)
    assert parse_moment("24h", now) == datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert parse_moment("1h30m", now) == datetime(2024, 1, 2, 10, 30, tzinfo=UTC)
    assert parse_moment("2024-01-01") == datetime(2024, 1, 1, tzinfo=UTC)
    assert parse_moment("1704067200") == datetime(2024, 1, 1, tzinfo=UTC)


def test_star_stays_within_a_part_of_the_path() -> None:
    assert matches("team/*", Reference.parse("team/app:1"))
    assert not matches("*", Reference.parse("team/app"))
