"""The examples of docs/library.md, run one after another against a real registry."""

import re
import subprocess
import sys
from pathlib import Path

import entrepot
from tests.support.images import image, push_image
from tests.support.server import RunningServer
from tests.support.tool import Tool
from tests.support.wire import Wire

PAGE = Path(__file__).resolve().parents[2] / "docs" / "library.md"


def test_examples_of_the_page_run(tool: Tool, hub: RunningServer) -> None:
    wire = Wire(hub.port)
    push_image(wire, "library/nginx", "1.27", image(({"a": b"1" * 3000}, {"b": b"2"})))
    wire.close()
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    program = "\n".join(blocks).replace("localhost:5000", hub.host)
    (tool.home / "page.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tool.home, env=tool.env, capture_output=True, text=True, check=False,
        timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "manifest-not-found" in done.stdout


def test_every_public_name_is_there() -> None:
    for name in entrepot.__all__:
        assert getattr(entrepot, name) is not None
    assert set(entrepot.__all__) - {"__version__"} == set(entrepot._EXPORTS)


def test_importing_loads_no_verb() -> None:
    code = "import entrepot, sys; print([name for name in sys.modules if name.startswith('entrepot.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
