"""Sizes, times and digests as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.pages.kit.words import (
    browser,
    figures,
    human_size,
    moment,
    plural,
    relative,
    short_digest,
    size,
    when,
)

NOW = 1_700_000_000_000_000
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (7_480_000, "7.48 MB"),
        (5_000_000_000, "5.00 GB"),
        (10**18, "1000 PB"),
    ],
)
def test_size_has_three_digits(number: int, text: str) -> None:
    assert human_size(number) == text


@given(st.integers(min_value=0, max_value=10**17))
def test_size_never_shows_a_thousand(number: int) -> None:
    assert float(human_size(number).split()[0]) < 1000


def test_size_keeps_the_exact_number() -> None:
    assert size(1_234_567) == '<data value="1234567" title="1,234,567 bytes">1.23 MB</data>'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (-44, "just now"),
        (59, "59 seconds ago"),
        (60, "1 minute ago"),
        (7_199, "1 hour ago"),
        (86_400 * 3, "3 days ago"),
        (86_400 * 400, "1 year ago"),
        (-86_400 * 40, "in 1 month"),
    ],
)
def test_time_is_relative(seconds: int, text: str) -> None:
    assert relative(NOW - seconds * SECOND, NOW) == text


def test_time_keeps_the_exact_moment() -> None:
    assert 'title="2023-11-14 22:13:20 UTC"' in when(NOW, NOW)
    assert "never" in when(None, NOW)


def test_words_for_numbers_and_digests() -> None:
    assert plural(1, "tag") == "1 tag"
    assert plural(2, "repository", "repositories") == "2 repositories"
    assert short_digest("sha256:" + "ab" * 32) == "abababababab"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('{"removed": {"blob": 3, "manifest": 0}, "bytes_freed": 1200000, "dry_run": false}', "REMOVED"),
        ('{"blobs": 0, "complete": true, "damaged": []}', ""),
        ('{"examples": ["a", "b"]}', "examples a, b"),
        ('{"expires_at": 1798848000000000}', "expires at 2027-01-02 00:00 UTC"),
        ("no JSON", ""),
        ("[1]", ""),
        (None, ""),
    ],
)
def test_figures_say_what_is_not_nothing(said: str | None, words: str) -> None:
    assert figures(said) == words.replace("REMOVED", "removed blob 3, bytes freed 1.20 MB")


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/149.0 Safari/537.36", "Chrome on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/149.0 Safari/537.36 Edg/149",
            "Edge on Windows",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/17 Safari/605.1", "Safari on macOS"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "unknown"),
    ],
)
def test_browsers_have_short_names(agent: str, words: str) -> None:
    assert browser(agent) == words


@pytest.mark.parametrize("text", ["", "yesterday", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_times_that_builders_write_for_none_are_none(text: str) -> None:
    assert moment(text) is None


def test_time_of_a_config_is_read() -> None:
    assert moment("2023-11-14T22:13:20.123456789Z") == NOW
