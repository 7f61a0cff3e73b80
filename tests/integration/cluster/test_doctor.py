"""The doctor on real installations that are well: nothing is broken."""

import json
from pathlib import Path

import pytest

from tests.integration.cluster.nodes import Place, nginx, running_node
from tests.support.server import running_server

pytestmark = pytest.mark.timeout(300)


def broken(said: str) -> list[dict[str, str]]:
    return [verdict for verdict in json.loads(said) if verdict["state"] == "fail"]


def test_a_node_behind_a_balancer_is_well(place: Place, tmp_path: Path) -> None:
    with running_node(tmp_path / "node", place) as node, nginx(tmp_path / "nginx", [node]) as port:
        done = node.admin("doctor", "--json", "--url", f"http://localhost:{port}", check=False)
        assert broken(done.stdout) == []
        checks = {verdict["check"] for verdict in json.loads(done.stdout)}
        assert {"directory", "schema", "catalog", "store", "lifecycle", "address", "clients"} <= checks
        # Without an address it asks where the server says that it listens.
        assert broken(node.admin("doctor", "--json", check=False).stdout) == []


def test_accounts_over_tls(tmp_path: Path) -> None:
    """A certificate that clients can't verify is found; with its authority named, all is well."""
    env = {"ENTREPOT_ACCESS_MODE": "accounts"}
    with running_server(tmp_path, "--tls-self-signed", env=env, scheme="https", workers=1) as server:
        done = server.admin("doctor", "--json", "--url", server.url, check=False)
        assert [verdict["check"] for verdict in broken(done.stdout)] == ["tls"]
        authority = server.data / "tls" / "cert.pem"
        done = server.admin("doctor", "--json", "--url", server.url, "--ca", str(authority), check=False)
        assert broken(done.stdout) == []
        assert done.returncode == 0
        realm = next(one for one in json.loads(done.stdout) if one["check"] == "realm")
        assert realm["state"] == "ok"
