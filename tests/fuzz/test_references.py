"""Names of images: whatever the text, a value that can leave no folder and no URL, or InvalidReference."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import TypeVar

from hypothesis import example
from hypothesis import strategies as st

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.oci.reference import (
    MAX_REPOSITORY_LENGTH,
    Reference,
    parse_any_reference,
    parse_repository,
    parse_tag,
)
from tests.support.fuzz import fuzz

T = TypeVar("T")

# Pieces that references are made of, so that many draws are nearly right.
PIECES = st.sampled_from(
    [
        *"abcXYZ019-_./:@[]%~ \n\x00é",
        "__",
        "..",
        "//",
        "localhost",
        "docker.io",
        "index.docker.io",
        "library/",
        "sha256:",
        "sha512:",
        "a" * 64,
        "0" * 63,
        "f" * 128,
        ":5000/",
        "[::1]:80/",
    ]
)
NEARLY = st.lists(PIECES, max_size=12).map("".join)
ANY = st.one_of(NEARLY, st.text(max_size=300))

REPOSITORY_LETTERS = frozenset(string.ascii_lowercase + string.digits + "._-/")
TAG_LETTERS = frozenset(string.ascii_letters + string.digits + "._-")


@fuzz(text=ANY)
@example(text="a" * 9000)
@example(text="0" * 64)
@example(text="ubuntu\n")
@example(text="ubuntu:1\n")
def test_a_reference_is_refused_or_safe_and_says_the_same_when_read_again(text: str) -> None:
    found = parsed(Reference.parse, text)
    if found is None:
        return
    assert_safe_repository(found.repository)
    if found.tag is not None:
        assert_safe_tag(found.tag)
    assert Reference.parse(str(found)) == found
    assert Reference.parse(found.familiar()) == found


@fuzz(text=ANY)
@example(text="a/../b")
@example(text="a\n")
def test_a_repository_name_is_refused_or_safe(text: str) -> None:
    found = parsed(parse_repository, text)
    if found is None:
        return
    assert found == text
    assert_safe_repository(found)


@fuzz(text=ANY)
@example(text="v1\n")
def test_a_tag_is_refused_or_safe(text: str) -> None:
    found = parsed(parse_tag, text)
    if found is None:
        return
    assert found == text
    assert_safe_tag(found)


@fuzz(text=st.one_of(ANY, st.from_regex(r"(sha256|sha512|md5):[0-9a-fA-F]{30,130}\n?", fullmatch=True)))
def test_an_id_or_reference_is_one_of_the_two_or_refused(text: str) -> None:
    found = parsed(parse_any_reference, text)
    if found is None:
        return
    if isinstance(found, Digest):
        assert str(found) in {text, f"sha256:{text}"}
    else:
        assert_safe_repository(found.repository)


def parsed(parse: Callable[[str], T], text: str) -> T | None:
    """What is made of the text; None when it is refused, in words that any terminal can show."""
    try:
        return parse(text)
    except InvalidInput as refusal:
        words = refusal.message
    assert words.isprintable()
    return None


def assert_safe_repository(name: str) -> None:
    assert 0 < len(name) <= MAX_REPOSITORY_LENGTH
    assert set(name) <= REPOSITORY_LETTERS
    assert not any(part.startswith((".", "-", "_")) or not part for part in name.split("/"))


def assert_safe_tag(tag: str) -> None:
    assert 0 < len(tag) <= 128
    assert set(tag) <= TAG_LETTERS
    assert tag[0] not in ".-"
