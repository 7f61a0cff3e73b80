"""The program around a command line: it ends fast, and ends whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = "import sys; sys.argv = ['entrepot', *{argv}]; {before}\nfrom entrepot.cli.program import run; run()"


def program(*argv: str, before: str = "") -> subprocess.CompletedProcess[str]:
    code = RUN.format(argv=list(argv), before=before)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(("argv", "code"), [(("--version",), 0), (("nope",), 1), (("pull", "--bogus"), 125)])
def test_exit_code_and_output_arrive(argv: tuple[str, ...], code: int) -> None:
    done = program(*argv)
    assert done.returncode == code
    assert done.stdout + done.stderr


def test_exit_handlers_and_threads_are_waited_for() -> None:
    before = (
        "import atexit, threading; from entrepot.cli import main as module; real = module.main\n"
        "def main(argv):\n"
        "    atexit.register(lambda: print('handler'))\n"
        "    def late():\n"
        "        threading.main_thread().join(60); print('thread')\n"
        "    threading.Thread(target=late).start()\n"
        "    return real(argv)\n"
        "module.main = main"
    )
    done = program("--version", before=before)
    assert (done.returncode, done.stdout.split()[-2:]) == (0, ["thread", "handler"])


@pytest.mark.parametrize("argv", [("images",), ("admin", "gc", "--help"), ("config", "show")], ids=" ".join)
def test_python_is_not_taken_apart_at_the_end(argv: tuple[str, ...]) -> None:
    """Threads of an object store's client may still want Python then; the process would end by SIGABRT."""
    before = (
        "import builtins\n"
        "class Late:\n"
        "    def __del__(self): sys.stderr.write('taken apart')\n"
        "builtins.late = Late()"
    )
    done = program(*argv, before=before)
    assert (done.returncode, "taken apart" in done.stderr) == (0, False)


def test_output_that_cannot_be_written_is_an_error() -> None:
    code = RUN.format(argv=["--help"], before="")
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" >/dev/full', sys.executable, code],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_as_many_files_may_be_open_as_the_system_permits() -> None:
    """Trees of more than a hundred layers need more than the usual 1024."""
    before = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))\n"
        "from entrepot.cli import main as module\n"
        "module.main = lambda argv: print(*resource.getrlimit(resource.RLIMIT_NOFILE)) or 0"
    )
    assert program("version", before=before).stdout == "300 300\n"
