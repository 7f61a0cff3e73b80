"""A port that something else has: said before the database is looked at."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from entrepot.server.config import load
from entrepot.server.process.listeners import AddressInUse
from entrepot.server.process.supervisor import Supervisor


@pytest.mark.parametrize("setting", ["server.listen", "metrics.listen"])
def test_a_taken_port_is_told_before_anything_is_prepared(tmp_path: Path, setting: str) -> None:
    prepared = tmp_path / "prepared"

    def prepare() -> Any:
        prepared.touch()
        return {"mode": "open"}

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        listens = {
            "server.listen": ("127.0.0.1:0",),
            "metrics.listen": ("127.0.0.1:0",),
            setting: (f"127.0.0.1:{port}",),
        }
        config = load(None, env={}, overrides={"server.data": tmp_path / "data", **listens})
        supervisor = Supervisor(config, prepare=prepare, run_jobs=None, announce=lambda lines: None)
        with pytest.raises(AddressInUse, match=f":{port}: address already in use"):
            supervisor.run()
    os.close(supervisor._lock)
    assert not prepared.exists()
