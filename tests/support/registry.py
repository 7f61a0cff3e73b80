"""A registry of our own that a whole test run shares."""

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.server import ENTREPOT
from tests.support.shared import shared_server


def our_registry() -> int:
    """Its port on loopback. Whoever uses it takes names of repositories that nobody else does."""
    return int(shared_server("contract-entrepot", _ours)["port"])


def answers_as_registry(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
    except urllib.error.HTTPError:
        return False
    except OSError:
        return False
    return True


def _ours(folder: Path) -> tuple[list[str], dict[str, Any], Any]:
    port = free_port()
    argv = [ENTREPOT, "serve", "--data", str(folder / "data"), "--listen", f"127.0.0.1:{port}"]
    return [*argv, "--workers", "1"], {"port": port}, lambda: answers_as_registry(port)
