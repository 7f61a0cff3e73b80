"""A server on SQLite is one node: it says where it listens, and `admin doctor` asks there."""

import json
from pathlib import Path

from tests.support.processes import wait_until
from tests.support.server import RunningServer, running_server


def listed(server: RunningServer) -> list[dict[str, object]]:
    return list(json.loads(server.admin("nodes", "--json", check=False).stdout))


def test_commands_find_the_server_by_its_data_alone(tmp_path: Path) -> None:
    with running_server(tmp_path, workers=1) as server:
        wait_until(lambda: len(listed(server)) == 1, what="the node's first sign of life")
        heads, row, *_ = server.admin("nodes").stdout.splitlines()
        assert heads.split() == ["NODE", "DOES", "STATE", "VERSION", "LAST", "SEEN", "LISTENS", "ON"]
        assert "everything" in row.split()
        assert row.endswith(f":{server.port}")
        asked = json.loads(server.admin("doctor", "--json", check=False).stdout)
        assert [each for each in asked if each["state"] == "fail"] == []
        assert not any("5000" in each["says"] for each in asked)
