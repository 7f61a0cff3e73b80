"""Sizes, times and digests as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.web.words import human_size, plural, relative, short_digest, size, when

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
