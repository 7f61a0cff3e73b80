"""What commands load before they do anything: modules are counted; their time is the machine's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_LOADED = """
import sys
from entrepot.cli.program import carry_out
carry_out(sys.argv[1:])
sys.stderr.write("\\n".join(sys.modules))
"""

CHANGES_CONTAINERS = frozenset(
    f"entrepot.containers.{name}" for name in ("lifecycle", "monitor", "spec", "runtime", "volumes", "users")
)
REGISTRIES = frozenset(("urllib3", "ssl", "entrepot.client"))
SLOW = frozenset(
    ("click", "inspect", "dataclasses", "logging", "secrets", "tempfile", "shutil", "subprocess")
)
"""Each takes milliseconds, and nothing that only looks needs it. (`inspect nothing` looks for everything.)"""


def modules_of(tmp_path: Path, *argv: str) -> set[str]:
    """Every module loaded once a command line has been carried out in an empty store."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *argv], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": "", "ENTREPOT_STORE": str(tmp_path / "store")},
    )  # fmt: skip
    return set(done.stderr.splitlines())


@pytest.mark.parametrize(("argv", "most"), [("images", 55), ("ps", 68), ("inspect nothing", 58)])
def test_looking_loads_neither_registries_nor_what_changes_containers(
    tmp_path: Path, argv: str, most: int
) -> None:
    loaded = modules_of(tmp_path, *argv.split())
    own = {name for name in loaded if name.startswith("entrepot")}
    assert not loaded & REGISTRIES
    assert not loaded & CHANGES_CONTAINERS
    assert "asyncio" not in loaded
    assert not loaded & SLOW
    assert len(own) <= most, sorted(own)
