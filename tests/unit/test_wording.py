"""Numbers in sentences."""

import pytest

from entrepot.server.access.decision.errors import TooManyAttempts
from entrepot.server.repos.errors import BlobTooLarge, QuotaExceeded
from entrepot.wording import plural, seconds


def test_one_is_singular() -> None:
    assert [plural(n, "tag") for n in (0, 1, 2)] == ["0 tags", "1 tag", "2 tags"]
    assert [plural(n, "repository", "repositories") for n in (1, 2)] == ["1 repository", "2 repositories"]


@pytest.mark.parametrize(("wait_s", "words"), [(0.2, "1 second"), (1.4, "1 second"), (5.0, "5 seconds")])
def test_a_wait_is_at_least_a_second(wait_s: float, words: str) -> None:
    assert seconds(wait_s) == words
    assert TooManyAttempts("too many", retry_after_s=wait_s).hint == f"try again in {words}"


def test_limits_are_told_in_units_people_read() -> None:
    assert str(QuotaExceeded("acme", 1_350_000_000)) == "project acme would have more than its 1.35 GB"
    assert str(BlobTooLarge(10 * 10**9)) == "a blob may have at most 10.0 GB here"
