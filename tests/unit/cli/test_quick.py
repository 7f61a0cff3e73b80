"""Lines read without click are read as click would read them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.cli.main import COMMANDS
from entrepot.cli.quick import QUICK, QuickCommand, carry_out_quickly, read_line


def declared(name: str) -> click.Command:
    module, _, function = COMMANDS[name].partition(":")
    command = getattr(import_module(module), function)
    assert isinstance(command, click.Command)
    return command


def by_click(name: str, words: Sequence[str]) -> dict[str, Any]:
    command = declared(name)
    with command.make_context(name, list(words)) as ctx:
        return dict(ctx.params)


@pytest.mark.parametrize("name", QUICK)
def test_the_table_says_what_the_command_declares(name: str) -> None:
    quick = QUICK[name]
    known = {**quick.flags, **quick.values, **quick.lists}
    for param in declared(name).params:
        if not isinstance(param, click.Option) or param.name == "help":
            continue
        if not param.expose_value:
            continue
        if param.name in quick.defaults:
            # Left to click; what is not said has its default.
            left_out = click.Command(name, params=[param]).make_context(name, [])
            assert quick.defaults[str(param.name)] == left_out.params[str(param.name)]
            assert not set(param.opts) & set(known)
            assert {param.envvar} - {None} <= quick.environment
            continue
        assert param.envvar is None
        table = quick.flags if param.is_flag else quick.lists if param.multiple else quick.values
        assert {typed: table.get(typed) for typed in param.opts} == dict.fromkeys(param.opts, param.name)
        assert not param.secondary_opts
        for typed in param.opts:
            del known[typed]
    assert known == {}


WORDS = st.lists(
    st.one_of(
        st.sampled_from(
            [typed for q in QUICK.values() for table in (q.flags, q.values, q.lists) for typed in table]
        ),
        st.sampled_from(["demo", "demo:1", "", "-", "--", "-aq", "--format=json", "-n", "3", "label=x"]),
        st.text(max_size=5),
    ),
    max_size=6,
)


@given(name=st.sampled_from(sorted(QUICK)), words=WORDS)
def test_a_line_that_is_read_is_read_as_by_click(name: str, words: list[str]) -> None:
    found = read_line([name, *words])
    if found is None:
        return
    quick, given_words, said = found
    expected = by_click(name, words)
    arguments = [str(param.name) for param in declared(name).params if isinstance(param, click.Argument)]
    assert dict(zip(arguments, given_words, strict=True)) == {key: expected.pop(key) for key in arguments}
    assert said == expected
    assert isinstance(quick, QuickCommand)


@pytest.mark.parametrize(
    "line",
    ["", "push demo", "images --help", "images a b", "images --format", "images --format -q", "ps demo",
     "inspect", "images -aq", "images --format=json", "ps -n 3", "--store x images", "images -- demo",
     "ps --nonsense", "pull", "pull -a demo", "pull demo --at 2026-01-01"],
)  # fmt: skip
def test_other_lines_are_left_to_click(line: str) -> None:
    assert read_line(line.split()) is None
    assert carry_out_quickly(line.split()) is None


def test_what_fails_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("ENTREPOT_STORE", str(tmp_path / "store"))
    assert carry_out_quickly(["images", "--filter", "nonsense=1"]) == 1
    assert carry_out_quickly(["inspect", "nothing"]) == 1
    written = capsys.readouterr()
    assert written.out == "[]\n"
    assert [line.startswith("Error: ") for line in written.err.splitlines()] == [True, True]
