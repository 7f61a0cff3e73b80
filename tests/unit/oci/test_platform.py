"""Platforms are spelled and chosen as docker does."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.platform import InvalidPlatform, Platform, select_platform

HOST = Platform.host()


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("Linux/AMD64", "linux/amd64"),
        ("macos/arm64", "darwin/arm64"),
        ("windows(10.0.17763.1)/amd64", "windows/amd64"),
        ("s390x", f"{HOST.os}/s390x"),
        ("linux", f"linux/{HOST.architecture}"),
    ],
)
def test_platforms_have_one_spelling(text: str, printed: str) -> None:
    assert str(Platform.parse(text)) == printed


def test_a_windows_version_is_read() -> None:
    assert Platform.parse("windows(10.0.17763.1)/amd64").os_version == "10.0.17763.1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bogus/x/y/z", '"bogus/x/y/z": cannot parse platform specifier: invalid argument'),
        ("bogus", '"bogus": unknown operating system or architecture: invalid argument'),
        ("", '"": invalid component in platform specifier: invalid argument'),
        ("linux/", '"linux/": invalid component in platform specifier: invalid argument'),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidPlatform) as caught:
        Platform.parse(text)
    assert str(caught.value) == message


def platforms(*texts: str | None) -> list[Platform | None]:
    return [
        None
        if text is None
        else Platform("unknown", "unknown")
        if text == "unknown"
        else Platform.parse(text)
        for text in texts
    ]


@pytest.mark.parametrize(
    ("wanted", "offered", "expected"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/amd64", ["linux/amd64", "linux/amd64"], 0),
        ("linux/amd64", ["linux/386"], 0),
        ("linux/amd64", ["linux/386", "linux/amd64"], 1),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/arm64", ["linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], 1),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/s390x", ["linux/amd64", "unknown"], None),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/amd64", [None], 0),
        ("linux/amd64", [None, "linux/amd64"], 1),
        ("linux/amd64", ["unknown"], None),
        ("windows(10.0.17763.1)/amd64", ["windows(10.0.20348.9)/amd64", "windows(10.0.17763.9)/amd64"], 1),
        ("linux/amd64", [], None),
    ],
)
def test_the_best_fit_is_chosen(wanted: str, offered: list[str | None], expected: int | None) -> None:
    assert select_platform(platforms(*offered), Platform.parse(wanted)) == expected


_words = st.text("abcdefv0123456789", min_size=1, max_size=6)


@given(_words, _words, st.none() | _words)
def test_printed_platforms_parse_to_themselves(os: str, architecture: str, variant: str | None) -> None:
    platform = Platform(os, architecture, variant).normalized()
    assert Platform.parse(str(platform)) == platform
    assert Platform.from_json(platform.to_json()) == platform


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidPlatform):
        Platform.parse(text)
