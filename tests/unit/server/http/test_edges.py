"""What is decided before a request reaches the registry: addresses, exposure, modes, hosts, origins."""

import pytest

from entrepot.errors import EntrepotError
from entrepot.server.config import load
from entrepot.server.config.addresses import Address, AddressInvalid, in_networks, parse_networks
from entrepot.server.config.exposure import ModeMismatch, TooExposed, check_exposure, choose_mode
from entrepot.server.config.model import Config
from entrepot.server.http.open_mode_guard import HostRule, is_authority, is_foreign
from entrepot.server.process.listeners import bind


def config(**overrides: object) -> Config:
    return load(env={}, overrides={key.replace("__", "."): value for key, value in overrides.items()})


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback", "shown"),
    [
        ("127.0.0.1:5000", "127.0.0.1", 5000, True, "localhost:5000"),
        ("localhost:0", "localhost", 0, True, "localhost:0"),
        ("[::1]:5000", "::1", 5000, True, "[::1]:5000"),
        (":5000", "", 5000, False, "0.0.0.0:5000"),
        ("10.1.2.3:80", "10.1.2.3", 80, False, "10.1.2.3:80"),
    ],
)
def test_addresses_are_read(text: str, host: str, port: int, loopback: bool, shown: str) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.is_loopback, address.shown) == (host, port, loopback, shown)


@pytest.mark.parametrize(
    "text", ["", "5000", "host:5000", "127.0.0.1:", "127.0.0.1:70000", "1.2.3:5", "[::1:5"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressInvalid):
        Address.parse(text)


def test_workers_share_a_port_that_nobody_else_gets() -> None:
    sockets = bind(Address("127.0.0.1", 0), workers=3, backlog=8)
    ports = {each.getsockname()[1] for each in sockets}
    with pytest.raises(EntrepotError, match="in use"):
        bind(Address("127.0.0.1", ports.pop()), workers=1, backlog=8)
    assert not ports
    for each in sockets:
        each.close()


def test_proxies_are_networks() -> None:
    networks = parse_networks(["10.0.0.0/8", "127.0.0.1", "fd00::/8"])
    assert in_networks("10.2.3.4", networks)
    assert in_networks("::ffff:10.2.3.4", networks)
    assert in_networks("fd00::1", networks)
    assert not in_networks("11.0.0.1", networks)
    assert not in_networks("unix:", networks)
    with pytest.raises(AddressInvalid):
        parse_networks(["proxy.example"])


LOOPBACK, OUTSIDE = [Address.parse("127.0.0.1:1")], [Address.parse(":1")]


def test_open_mode_stays_on_loopback() -> None:
    assert check_exposure(config(), "open", LOOPBACK) == []
    with pytest.raises(TooExposed):
        check_exposure(config(), "open", OUTSIDE)
    assert "OPEN" in check_exposure(config(server__allow_open=True), "open", OUTSIDE)[0]


def test_passwords_cross_no_network_in_clear() -> None:
    assert check_exposure(config(), "accounts", LOOPBACK) == []
    with pytest.raises(TooExposed):
        check_exposure(config(), "accounts", OUTSIDE)
    assert check_exposure(config(tls__self_signed=True), "accounts", OUTSIDE) == []
    assert check_exposure(config(server__behind_proxy="10.0.0.1"), "accounts", OUTSIDE) == []


def test_accounts_are_never_dropped_silently() -> None:
    assert choose_mode(config(), None) == "open"
    assert choose_mode(config(), "accounts") == "accounts"
    assert choose_mode(config(access__mode="accounts"), "open") == "accounts"
    with pytest.raises(ModeMismatch):
        choose_mode(config(access__mode="open"), "accounts")
    assert choose_mode(config(server__allow_open=True), "accounts") == "open"


@pytest.mark.parametrize(
    ("authority", "allowed"),
    [
        ("localhost", True),
        ("LocalHost.:80", True),
        ("x.localhost:5000", True),
        ("127.1.2.3", True),
        ("[::1]:5000", True),
        ("known.example:443", True),
        ("a.b.wild.example", True),
        ("wild.example", False),
        ("localhost.example", False),
        ("192.168.0.1", False),
        ("[::2]", False),
        ("", False),
    ],
)
def test_hosts_of_open_mode(authority: str, allowed: bool) -> None:
    assert HostRule(["known.example", "*.wild.example"]).allows(authority) is allowed


@pytest.mark.parametrize(
    ("authority", "named"),
    [
        ("registry", True),
        ("registry:5000", True),
        ("a_b.Example-1.org.", True),
        ("10.0.0.1:80", True),
        ("[::1]", True),
        ("[fe80::1:2.3.4.5]:65535", True),
        ('evil",realm="https://evil.example', False),
        ("a b", False),
        ("a/b", False),
        ("a@b", False),
        ("a\\b", False),
        ("a:b", False),
        ("a:123456", False),
        ("[::1", False),
        ("[x]", False),
        ("a,b", False),
        ("a\n", False),
        ("é.example", False),
        ("<script>", False),
        ("x" * 256, False),
        ("", False),
    ],
)
def test_names_of_hosts(authority: str, named: bool) -> None:
    assert is_authority(authority) is named


@pytest.mark.parametrize(
    ("method", "origin", "site", "foreign"),
    [
        ("GET", "http://evil.example", "cross-site", False),
        ("POST", None, None, False),
        ("POST", "http://localhost:5000", "same-origin", False),
        ("POST", "HTTP://LOCALHOST:5000", None, False),
        ("POST", "https://localhost:5000", None, True),
        ("PUT", "null", None, True),
        ("DELETE", None, "cross-site", True),
        ("PATCH", None, "same-site", True),
        ("PATCH", None, "none", False),
    ],
)
def test_foreign_requests(method: str, origin: str | None, site: str | None, foreign: bool) -> None:
    found = is_foreign(method=method, own=["http://localhost:5000"], origin=origin, fetch_site=site)
    assert found is foreign
