"""Which network a container gets, and the resolver it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.containers import network
from entrepot.containers.errors import InvalidOption, NoNetwork
from entrepot.containers.etc import resolver_lines
from entrepot.containers.network import choose_network, pasta_arguments
from entrepot.containers.options import parse_dns, parse_extra_host
from entrepot.containers.records import HostConfig, PortBinding


@pytest.fixture(autouse=True)
def only_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of this machine are not found."""
    monkeypatch.setattr(network, "_OWN_PATH", ())


def _install(folder: Path, *names: str) -> dict[str, str]:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


def test_the_first_installed_program_is_the_default(tmp_path: Path) -> None:
    environ = _install(tmp_path, "slirp4netns")
    assert choose_network("default", publishing=True, environ=environ, tun=tmp_path).network == "slirp4netns"
    environ = _install(tmp_path, "pasta")
    assert choose_network("default", publishing=True, environ=environ, tun=tmp_path).network == "pasta"


def test_without_one_the_container_has_none_and_it_is_said(tmp_path: Path) -> None:
    environ = _install(tmp_path)
    choice = choose_network("default", publishing=False, environ=environ)
    assert choice.network == "none"
    assert "neither pasta nor slirp4netns is installed" in choice.warning
    assert "apt-get install passt" in choice.warning
    with pytest.raises(NoNetwork, match="ports cannot be published"):
        choose_network("default", publishing=True, environ=environ)
    with pytest.raises(NoNetwork, match="network pasta is not installed"):
        choose_network("pasta", publishing=False, environ=environ)


def test_a_closed_tun_device_is_named(tmp_path: Path) -> None:
    environ = _install(tmp_path, "pasta")
    choice = choose_network("default", publishing=False, environ=environ, tun=tmp_path / "missing")
    assert choice.network == "none"
    assert f"{tmp_path}/missing cannot be opened" in choice.warning


def test_nothing_is_asked_of_the_machine_for_none_and_host(tmp_path: Path) -> None:
    for name in ("none", "host"):
        assert choose_network(name, publishing=True, environ=_install(tmp_path)) == network.Choice(name)


def test_pasta_forwards_what_was_published_and_nothing_else() -> None:
    words = pasta_arguments([PortBinding(80, host_ip="127.0.0.1", host_port=8080)])
    assert words[-4:] == ["-t", "127.0.0.1/8080:80", "-u", "none"]
    assert {"-T", "-U", "--no-map-gw"} <= set(words)


HOSTS_FILE = "# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch lan\noptions edns0\n"
RESOLVERS = {
    "none": "nameserver 192.0.2.1\nsearch lan\noptions edns0\n",
    "pasta": "nameserver 192.0.2.1\nsearch lan\noptions edns0\n",
    "host": "nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch lan\noptions edns0\n",
}


@pytest.mark.parametrize("name", RESOLVERS)
def test_resolvers_that_can_be_reached_are_kept(name: str) -> None:
    assert resolver_lines(HOSTS_FILE, HostConfig(network=name)) == RESOLVERS[name]


def test_the_network_program_answers_for_a_resolver_on_loopback() -> None:
    only_local = "nameserver 127.0.0.53\n"
    assert resolver_lines(only_local, HostConfig(network="pasta")) == "nameserver 10.0.2.3\n"
    assert resolver_lines(only_local, HostConfig(network="none")) == ""


def test_dns_and_search_replace_the_hosts() -> None:
    host = HostConfig(network="pasta", dns=["127.0.0.1", "::1"], dns_search=["a.test", "b.test"])
    assert resolver_lines(HOSTS_FILE, host) == (
        "nameserver 127.0.0.1\nnameserver ::1\nsearch a.test b.test\noptions edns0\n"
    )
    assert "search" not in resolver_lines(HOSTS_FILE, HostConfig(dns_search=["."]))


def test_addresses_of_names_and_resolvers_are_checked() -> None:
    assert parse_extra_host("a=::1") == "a:::1"
    assert parse_extra_host("a:192.0.2.7") == "a:192.0.2.7"
    for text, said in (
        ("a", "bad format for add-host"),
        ("a:b", "invalid IP address in add-host"),
        ("a:host-gateway", "host-gateway is not supported"),
    ):
        with pytest.raises(InvalidOption, match=said):
            parse_extra_host(text)
    with pytest.raises(InvalidOption, match="x is not an ip address"):
        parse_dns("x")
