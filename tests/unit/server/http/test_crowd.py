"""Who counts as one client, and how many requests one may have under way."""

import pytest

from entrepot.server.config.addresses import parse_networks
from entrepot.server.http.crowd import WIDE, Crowd, share_of

PEER = ("192.0.2.1", "4711")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("127.0.0.1", "127.8.8.8", True),
        ("127.0.0.1", "::1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("unknown", "unknown", True),
    ],
)
def test_addresses_that_one_client_can_choose_from_count_as_one(one: str, other: str, same: bool) -> None:
    assert (share_of(one) == share_of(other)) is same


@pytest.mark.parametrize(
    ("address", "most"),
    [("192.0.2.1", 3), ("2001:db8::1", 3), ("127.0.0.1", 3 * WIDE), ("10.0.0.7", 3 * WIDE)],
    ids=["address", "IPv6", "loopback", "proxy"],
)
def test_one_address_has_so_many_requests_and_no_more(address: str, most: int) -> None:
    crowd = Crowd(requests=3, proxies=parse_networks(["10.0.0.0/24"]))
    assert [bool(crowd.enter(address, PEER)) for _ in range(most + 2)] == [True] * most + [False] * 2
    assert crowd.enter("198.51.100.9", PEER), "others are not concerned"
    crowd.leave(share_of(address), PEER)
    assert crowd.enter(address, PEER)
    assert not crowd.enter(address, PEER)


def test_without_a_limit_nobody_is_refused() -> None:
    crowd = Crowd()
    assert all(crowd.enter("192.0.2.1", PEER) for _ in range(10_000))
