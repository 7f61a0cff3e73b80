"""How far inside an address is, however it is spelled, and that no connection goes further than it may."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from entrepot.client.errors import DestinationForbidden
from entrepot.client.hosts import Trust
from entrepot.client.reach import Reach, literal_reach, reach_of
from entrepot.client.transport import ConnectionBroken, Origin, Transport
from tests.support.lying_registry import Reply, lying_registry, quick_settings

INSIDE = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "0.0.0.0/8")
NETWORKS = {
    "::1": Reach.MACHINE,
    "127.255.0.3": Reach.MACHINE,
    "169.254.169.254": Reach.STRANGE,
    "0.0.0.0": Reach.STRANGE,
    "::": Reach.STRANGE,
    "fe80::1%3": Reach.STRANGE,
    "224.0.0.1": Reach.STRANGE,
    "10.1.2.3": Reach.PRIVATE,
    "100.64.0.1": Reach.PRIVATE,
    "fd00::1": Reach.PRIVATE,
    "8.8.8.8": Reach.PUBLIC,
    "2606:4700::1111": Reach.PUBLIC,
    "64:ff9b::808:808": Reach.PUBLIC,
}
inside = st.sampled_from([ipaddress.IPv4Network(network) for network in INSIDE]).flatmap(
    lambda network: st.ip_addresses(v=4, network=network)
)


@pytest.mark.parametrize(("address", "reach"), NETWORKS.items())
def test_addresses_have_a_reach(address: str, reach: Reach) -> None:
    assert reach_of(address) is reach


@st.composite
def spelled(draw: st.DrawFn, address: ipaddress.IPv4Address) -> str:
    """As a resolver takes it: one to four parts, each decimal, octal or hexadecimal."""
    count = draw(st.integers(1, 4))
    octets = list(address.packed)
    parts = [*octets[: count - 1], int.from_bytes(octets[count - 1 :], "big")]
    forms = st.sampled_from(["{}", "0{:o}", "0x{:x}", "0X{:X}", "0x000{:x}"])
    return ".".join(draw(forms).format(part) for part in parts)


@st.composite
def carried(draw: st.DrawFn, address: ipaddress.IPv4Address) -> str:
    """Inside an IPv6 address."""
    value = int(address)
    prefix = draw(st.sampled_from(["::ffff:0:0", "64:ff9b::", "64:ff9b:1:7::", "::ffff:0:0:0", "2002::"]))
    if prefix == "2002::":
        return str(ipaddress.IPv6Address((0x2002 << 112) | (value << 80) | draw(st.integers(0, 2**80 - 1))))
    made = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | value)
    return draw(st.sampled_from([str(made), made.exploded, f"{made}"]))


one = st.shared(inside, key="one")


@example(ipaddress.IPv4Address("127.0.0.1"), "127.1")
@example(ipaddress.IPv4Address("127.0.0.1"), "0x7f.1")
@example(ipaddress.IPv4Address("127.0.0.1"), "2130706433")
@example(ipaddress.IPv4Address("127.0.0.1"), "017700000001")
@example(ipaddress.IPv4Address("127.0.0.1"), "::ffff:127.0.0.1")
@example(ipaddress.IPv4Address("127.0.0.1"), "64:ff9b::7f00:1")
@example(ipaddress.IPv4Address("169.254.169.254"), "0xa9fea9fe")
@given(
    *[st.shared(inside, key="one")], st.shared(inside, key="one").flatmap(lambda a: spelled(a) | carried(a))
)
def test_no_spelling_of_an_inner_address_looks_more_public(address: ipaddress.IPv4Address, text: str) -> None:
    plain = reach_of(str(address))
    assert plain > Reach.PUBLIC
    found = literal_reach(text)
    assert found is not None
    assert found >= plain
    if ":" not in text:  # what a connection would go to
        for *_, sockaddr in socket.getaddrinfo(text, 80, type=socket.SOCK_STREAM):
            assert reach_of(str(sockaddr[0])) is plain


@pytest.mark.parametrize("name", ["registry.example", "10", "1.2.3.4.5", "0x", "", ".", "256.1.1.1.", "face"])
def test_names_are_not_taken_for_inner_addresses(name: str) -> None:
    assert literal_reach(name) in {None, Reach.STRANGE}


@contextlib.contextmanager
def untouched_port() -> Iterator[int]:
    """A port of this machine that answers; nobody may have connected to it in the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("most", [Reach.PUBLIC, Reach.PRIVATE])
def test_nobody_is_connected_to_this_machine_by_another_spelling(most: Reach, tmp_path: Path) -> None:
    hosts = ("127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "localhost", "[::ffff:127.0.0.1]")
    transport = Transport(quick_settings(tmp_path), Trust())
    with untouched_port() as port:
        for host in hosts:
            with pytest.raises(DestinationForbidden):
                transport.send("GET", f"http://{host}:{port}/", {}, most=most)


def test_every_address_of_a_name_is_judged_and_no_second_look_up_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the answer changes between two look-ups."""
    asked: list[str] = []
    resolve = socket.getaddrinfo
    answers = {"mixed.example": ["192.0.2.1", "127.0.0.1"], "here.example": ["127.0.0.1"]}

    def answer(host: str, port: int, *args: object, **more: object) -> object:
        if host not in answers:
            return resolve(host, port, *args, **more)  # type: ignore[arg-type]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in answers[host]]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    transport = Transport(quick_settings(tmp_path), Trust())
    with untouched_port() as port:
        for host in answers:
            with pytest.raises(DestinationForbidden, match=host):
                transport.send("GET", f"http://{host}:{port}/", {}, most=Reach.PRIVATE)
    with lying_registry(lambda _: Reply(200)) as registry:
        url = f"http://here.example:{registry.port}/"
        transport.send("GET", url, {}).discard()
        assert transport.reached(Origin.of(url)) is Reach.MACHINE
        with pytest.raises(DestinationForbidden):  # although a connection to it is open
            transport.send("GET", url, {}, most=Reach.PRIVATE)
    assert asked == ["mixed.example", "here.example", "here.example", "here.example"]


def test_a_name_nobody_knows_is_no_host(tmp_path: Path) -> None:
    with pytest.raises(ConnectionBroken, match="no such host"):
        Transport(quick_settings(tmp_path), Trust()).send("GET", "http://nobody.invalid/", {})
