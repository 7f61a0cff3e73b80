"""What a person at a terminal sees."""

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.stub_registry import StubRegistry, stub_registry
from tests.support.images import image, layer_tar
from tests.support.programs import require_program
from tests.support.server import ENTREPOT
from tests.support.tool import Tool


@pytest.fixture
def stub() -> Iterator[StubRegistry]:
    with stub_registry(image(({"a": b"1"}, {"b": os.urandom(200_000)}))) as running:
        yield running


@pytest.fixture
def alone(tmp_path: Path) -> Tool:
    return Tool(tmp_path / "home", "localhost:1")


def at_a_terminal(tool: Tool, *argv: str, **env: str) -> tuple[int, str]:
    """Run a command whose stdin, stdout and stderr are a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [ENTREPOT, *argv], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tool.home,
        env={**tool.env, "TERM": "xterm", **env},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:
        pass  # the other end is closed: the program has ended
    finally:
        os.close(ours)
    return process.wait(60), seen.decode()


def test_archives_are_not_written_to_or_read_from_a_terminal(alone: Tool) -> None:
    said = "cowardly refusing to save to a terminal. Use the -o flag or redirect\r\n"
    assert at_a_terminal(alone, "save", "x") == (1, said)
    assert at_a_terminal(alone, "load") == (1, "requested load from stdin, but stdin is empty\r\n")


def test_pull_draws_lines_over_and_ends_as_in_a_pipe(alone: Tool, stub: StubRegistry) -> None:
    code, seen = at_a_terminal(alone, "pull", f"{stub.host}/app:1")
    assert code == 0
    assert "\x1b[2K" in seen
    assert "Pull complete" in seen
    assert seen.splitlines()[-1] == f"{stub.host}/app:1"


def test_colour_is_left_out_when_nobody_wants_it(alone: Tool, stub: StubRegistry) -> None:
    _, seen = at_a_terminal(alone, "pull", f"{stub.host}/app:1", NO_COLOR="1")
    assert "\x1b[32m" not in seen
    assert "\x1b[2K" in seen


def test_reader_that_goes_away_is_no_error_to_speak_of(alone: Tool) -> None:
    alone.run("import", "-", "bb:1", stdin=bytes(1024))
    done = subprocess.run(
        ["sh", "-c", f"{ENTREPOT} inspect bb:1 | true"],
        env=alone.env,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == b""


COMPLETE = """
source <("$0" completion bash)
COMP_LINE=$1 COMP_POINT=${#1}
_entrepot_completion "$0"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("entrepot vers", "version"),
        ("entrepot pus", "push"),
        ("entrepot push --ins", "--insecure"),
        ("entrepot image inspe", "inspect"),
        ("entrepot push lo", "localhost:5000/comps/prod/nginx:1.15"),
        # bash has "localhost:" on the line already.
        ("entrepot push localhost:50", "5000/comps/prod/nginx:1.15"),
        ("entrepot push localhost:5000/comps/prod/nginx:", "1.15"),
        ("entrepot push ", "localhost:5000/comps/prod/nginx:1.15"),
    ],
)
def test_bash_completes_words_and_names_with_colons(alone: Tool, typed: str, offered: str) -> None:
    alone.run("import", "-", "localhost:5000/comps/prod/nginx:1.15", stdin=layer_tar({"x": b"1"}))
    argv = [require_program("bash"), "-c", COMPLETE, ENTREPOT, typed]
    done = subprocess.run(
        argv, env=alone.env, cwd=alone.home, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout.strip(), done.stderr) == (offered, "")
