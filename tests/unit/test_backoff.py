import itertools

import pytest

from entrepot.backoff import backoff_s


@pytest.mark.parametrize(
    ("failures", "seconds"), [(-1, 0.0), (0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0), (4, 3.0), (5, 3.0)]
)
def test_waits_double_from_the_first_failure_up_to_the_longest(failures: int, seconds: float) -> None:
    assert backoff_s(failures, first_s=0.5, longest_s=3.0) == seconds


def test_waits_grow_by_what_is_asked() -> None:
    waits = [backoff_s(failures, first_s=0.01, longest_s=60.0, growth=4.0) for failures in range(1, 6)]
    assert waits == pytest.approx([0.01, 0.04, 0.16, 0.64, 2.56])


@pytest.mark.parametrize("growth", [2.0, 4.0])
def test_any_number_of_failures_has_a_wait(growth: float) -> None:
    counts = (10, 100, 1_000, 10_000, 10**9, 10**400)
    waits = [backoff_s(count, first_s=0.1, longest_s=10.0, growth=growth) for count in counts]
    assert waits == [10.0] * len(counts)
    assert all(one <= other for one, other in itertools.pairwise(waits))
