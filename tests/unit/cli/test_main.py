"""The command table, errors as lines, exit codes; everything in this process."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from entrepot.cli import main as program
from entrepot.cli.advice import ELSEWHERE, advice_on, distance
from entrepot.cli.main import COMMANDS, SECTIONS, main


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    out, err = capsys.readouterr()
    return code, out, err


USAGE_ERRORS = [
    (("nope",), 1, ("entrepot: unknown command: entrepot nope\n\n"
     "Run 'entrepot --help' for more information\n")),
    (("image", "nope"), 1, ("entrepot: unknown command: entrepot image nope\n\n"
     "Usage:  entrepot image\n\n"
     "Run 'entrepot image --help' for more information\n")),
    (("pul",), 1, ("entrepot: unknown command: entrepot pul\n\nDid you mean this?\n  pull\n\n"
     "Run 'entrepot --help' for more information\n")),
    (("image", "lss"), 1, ("entrepot: unknown command: entrepot image lss\n\nDid you mean this?\n  ls\n\n"
     "Usage:  entrepot image\n\n"
     "Run 'entrepot image --help' for more information\n")),
    (("build", "."), 1, (f"entrepot: unknown command: entrepot build\n\n{ELSEWHERE['build']}\n\n"
     "Run 'entrepot --help' for more information\n")),
    (("tag", "a"), 1, ("entrepot: 'entrepot tag' requires 2 arguments\n\n"
     "Usage:  entrepot tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\n"
     "Run 'entrepot tag --help' for more information\n")),
    (("rmi",), 1, ("entrepot: 'entrepot rmi' requires at least 1 argument\n\n"
     "Usage:  entrepot rmi [OPTIONS] IMAGE [IMAGE...]\n\n"
     "See 'entrepot rmi --help' for more information\n")),
    (("tag", "--bogus", "a", "b"), 125, ("unknown flag: --bogus\n\n"
     "Usage:  entrepot tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\n"
     "Run 'entrepot tag --help' for more information\n")),
    (("tag", "-x", "a", "b"), 125, ("unknown shorthand flag: 'x' in -x\n\n"
     "Usage:  entrepot tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\n"
     "Run 'entrepot tag --help' for more information\n")),
    (("--bogus",), 125, ("unknown flag: --bogus\n\nUsage:  entrepot [OPTIONS] COMMAND [ARG...]\n\n"
     "Run 'entrepot --help' for more information\n")),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "code", "said"), USAGE_ERRORS, ids=[" ".join(c[0]) for c in USAGE_ERRORS])
def test_usage_error_is_dockers(
    capsys: pytest.CaptureFixture[str], argv: Sequence[str], code: int, said: str
) -> None:
    assert run(capsys, *argv) == (code, "", said)


def test_error_is_one_line_without_a_trace(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "--store", str(tmp_path), "history", "nope")
    assert (code, out, err) == (1, "", "Error: No such image: nope:latest\n")


def test_debug_adds_the_trace(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, _, err = run(capsys, "--debug", "--store", str(tmp_path), "history", "nope")
    assert "Traceback" in err
    assert err.endswith("Error: No such image: nope:latest\n")


def test_bug_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "tag", "no.such.module:tag")
    code, _, err = run(capsys, "tag", "a", "b")
    assert code == 1
    assert err.startswith("Error: internal error: ModuleNotFoundError")
    assert err.count("\n") == 1


def test_a_registry_without_its_packages_says_how_to_get_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "serve", "sqlalchemy.missing:serve")
    code, _, err = run(capsys, "serve")
    assert code == 1
    assert err.startswith("Error: the registry needs the Python package sqlalchemy.missing")
    assert "pip install 'entrepot[server]'" in err


def test_signatures_without_their_packages_say_how_to_get_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "sign", "rfc3161_client.missing:sign")
    code, _, err = run(capsys, "sign")
    assert code == 1
    assert err.startswith("Error: signatures need the Python package rfc3161_client")
    assert "pip install 'entrepot[signing]'" in err


def test_interrupt_leaves_with_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program.cli, "main", interrupted)
    assert run(capsys, "images") == (130, "", "")


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.startswith("entrepot version ")


@pytest.mark.parametrize("row", sorted(COMMANDS))
def test_every_row_of_the_table_is_a_command_with_help(capsys: pytest.CaptureFixture[str], row: str) -> None:
    code, out, err = run(capsys, *row.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: entrepot ")


def test_top_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--help")
    assert all(f"\n  {row.split()[0]} " in out for row in COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0
    assert "_ENTREPOT_COMPLETE" in out


def test_starting_loads_nothing_heavy() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import entrepot.cli.main, sys; print('\\n'.join(sys.modules))"],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "PYTHONPATH": ""},
    ).stdout.split()  # fmt: skip
    heavy = {"urllib3", "msgspec", "zstandard", "isal", "entrepot.images.store", "entrepot.client",
             "sqlalchemy", "litestar", "asyncio", "entrepot.cli.templates"}  # fmt: skip
    assert not heavy & set(loaded)


def test_every_command_has_one_place_in_the_help() -> None:
    placed = [word for _, words in SECTIONS for word in words.split()]
    assert sorted(placed) == sorted({row.split()[0] for row in COMMANDS})


def test_help_is_grouped_by_what_commands_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--help")
    places = [out.index(f"\n{heading}:\n") for heading, _ in SECTIONS]
    assert places == sorted(places)


@pytest.mark.parametrize("words", ["build", "buildx", "builder", "image build"])
def test_whoever_wants_to_build_is_told_what_does(words: str) -> None:
    advice = advice_on(words, [])
    assert all(name in advice for name in ("buildah", "BuildKit", "entrepot append", "entrepot mutate"))


@pytest.mark.parametrize(
    ("word", "near"), [("imgaes", "images"), ("cont", "container"), ("lgoin", "login"), ("xyz", None)]
)
def test_advice_is_for_words_that_come_near(word: str, near: str | None) -> None:
    advice = advice_on(word, sorted({row.split()[0] for row in COMMANDS}))
    assert advice == (f"Did you mean this?\n  {near}" if near else "")


def test_a_swap_is_one_step() -> None:
    assert [distance("lgoin", "login"), distance("", "ab"), distance("a", "a")] == [1, 2, 0]


def test_help_of_a_command_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "help", "image", "prune") == run(capsys, "image", "prune", "--help")
    assert run(capsys, "help") == run(capsys, "--help")
    assert run(capsys, "help", "nope") == (1, "", "unknown help topic: nope\n")


def test_version_answers_what_scripts_ask_docker(capsys: pytest.CaptureFixture[str]) -> None:
    from entrepot import __version__

    assert run(capsys, "version", "-f", "{{.Client.Version}} {{.Server.Version}}")[1] == (
        f"{__version__} {__version__}\n"
    )


def test_info_tells_what_the_store_has(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    template = "{{.Images}} {{.Containers}} {{.ContainersRunning}} {{.DockerRootDir}}"
    assert run(capsys, "--store", str(tmp_path), "info", "-f", template) == (0, f"0 0 0 {tmp_path}\n", "")
    assert run(capsys, "--store", str(tmp_path), "info")[1].startswith("Containers: 0\n Running: 0\n")
