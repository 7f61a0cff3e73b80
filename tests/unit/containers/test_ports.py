"""How `-p` and `--expose` are read, and how published ports are shown."""

from __future__ import annotations

import pytest

from entrepot.containers.errors import InvalidOption
from entrepot.containers.ports import listed, parse_expose, parse_publish, published, wanted
from entrepot.containers.records import PortBinding

FORMS = {
    "80": [PortBinding(80)],
    "8080:80": [PortBinding(80, host_port=8080)],
    "8080:80/TCP": [PortBinding(80, host_port=8080)],
    "53:53/udp": [PortBinding(53, "udp", host_port=53)],
    "127.0.0.1:8080:80": [PortBinding(80, host_ip="127.0.0.1", host_port=8080)],
    "127.0.0.1::80": [PortBinding(80, host_ip="127.0.0.1")],
    "[::1]:8080:80": [PortBinding(80, host_ip="::1", host_port=8080)],
    "7000-7001:80-81": [PortBinding(80, host_port=7000), PortBinding(81, host_port=7001)],
}
MISTAKES = {
    "": "No port specified: <empty>",
    "8080:": "No port specified: 8080:<empty>",
    "web": "Invalid containerPort: web",
    "0": "Invalid containerPort: 0",
    "65536": "Invalid containerPort: 65536",
    "81-80": "Invalid containerPort: 81-80",
    "x:80": "Invalid hostPort: x",
    "80/sctp": "Invalid proto: sctp",
    "localhost:80:80": "Invalid ip address: localhost",
    "7000-7002:80-81": "Invalid ranges specified for container and host Ports: 80-81 and 7000-7002",
    "7000-7002:80": "a range of host ports for one container port is not supported: 7000-7002:80",
}


@pytest.mark.parametrize("text", FORMS)
def test_published_ports_are_read(text: str) -> None:
    assert parse_publish(text) == FORMS[text]


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_a_published_port_is_told(text: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_publish(text)
    assert caught.value.message == MISTAKES[text]


def test_exposed_ranges_are_single_ports() -> None:
    assert parse_expose("80") == ["80/tcp"]
    assert parse_expose("53-54/udp") == ["53/udp", "54/udp"]
    with pytest.raises(InvalidOption, match="Invalid range format for --expose: x"):
        parse_expose("x")


def test_ports_are_shown_as_docker_shows_them() -> None:
    bindings = [PortBinding(80, host_port=8080), PortBinding(80, host_ip="::1", host_port=81)]
    exposed = ["443/tcp", "80/tcp"]
    assert published(bindings, exposed) == {
        "443/tcp": None,
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "81"}],
    }
    assert listed(bindings, exposed) == "0.0.0.0:8080->80/tcp, [::1]:81->80/tcp, 443/tcp"
    assert wanted([PortBinding(80)]) == {"80/tcp": [{"HostIp": "", "HostPort": ""}]}
