"""`read_feed`: pages until the end, from a number or a time on."""

from datetime import UTC, datetime

import pytest

from entrepot.actions import feed
from entrepot.actions.feed import read_feed
from entrepot.client.registry import EventsPage, RegistryEvent


def event(number: int) -> RegistryEvent:
    at = datetime(2026, 10, 1, number, tzinfo=UTC)
    return RegistryEvent(number, "push", ["push"], "acme/app", at, {"by": "ann"})


class Pages:
    """A registry with five events, two a page."""

    def __init__(self, *_: object, **__: object) -> None:
        return

    def events(self, *, after: int, **_: object) -> EventsPage:
        numbers = range(after + 1, min(after + 2, 5) + 1)
        return EventsPage([event(number) for number in numbers], max(numbers, default=after), 5)

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("since", "numbers"),
    [(0, [1, 2, 3, 4, 5]), (3, [4, 5]), (5, []), (datetime(2026, 10, 1, 4, tzinfo=UTC), [4, 5])],
)
def test_pages_are_read_to_the_end(
    since: int | datetime, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "Registry", Pages)
    assert [one.number for one in read_feed("registry.example", since=since)] == numbers
