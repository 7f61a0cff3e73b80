"""The tutorial's commands, word for word, on a network of their own where port 5000 is free."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import require_program, require_root
from tests.support.server import clean_env

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
_BLOCK = re.compile(r"^```sh(?: title=\"([^\"]*)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BEGIN = """
set -euo pipefail
ip link set lo up
end_server() { kill -TERM "$server"; wait "$server" || true; }
"""
# A background command of a script ignores Ctrl-C, so TERM stands for it.
_START = """
[ -z "${{server:-}}" ] || end_server
bash -c {block} > server.log 2>&1 &
server=$!
tries=0
until curl --silent --output /dev/null http://localhost:5000/v2/; do
  tries=$((tries + 1)); [ "$tries" -lt 300 ] || {{ cat server.log; exit 1; }}; sleep 0.2
done
"""


def script() -> str:
    parts = [_BEGIN]
    for title, block in _BLOCK.findall(PAGE.read_text()):
        # Its own shell goes, so that the signal reaches the server.
        parts.append(_START.format(block=shlex.quote(_with_exec(block))) if title else block)
    return "\n".join([*parts, "end_server"])


def _with_exec(block: str) -> str:
    return re.sub(r"^((?:[A-Z_]+=\S+ )*)(entrepot )", r"\1exec \2", block.strip())


def test_the_tutorial_works_word_for_word(tmp_path: Path) -> None:
    require_root()
    env = clean_env(HOME=str(tmp_path)) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [require_program("unshare"), "--net", "bash", "-c", script()], cwd=tmp_path, env=env, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=380,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1.0\n1.1\n" in done.stdout
    assert (tmp_path / "site.tar").exists()
    assert "no: acme+ci may not delete-tag on acme/site:1.1" in done.stdout
    assert "nothing is wrong" in done.stdout
