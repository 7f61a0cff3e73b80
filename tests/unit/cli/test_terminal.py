"""Foreign text moves no cursor, hides no line and forges none; JSON stays exact."""

from __future__ import annotations

import json

import pytest
from hypothesis import strategies as st

from entrepot.cli.failures import report_failure
from entrepot.cli.output import Column, Listing, indented_json, print_error, render_listing, write
from entrepot.cli.progress import PULL, reporter
from entrepot.errors import EntrepotError
from tests.support.fuzz import fuzz

LISTING = Listing(
    columns=(Column("ID", "IMAGE"), Column("CreatedBy", "CREATED BY"), Column("Comment", "COMMENT")),
    shown=("ID", "CreatedBy", "Comment"),
    json_names=("Comment", "CreatedBy", "ID"),
    quiet="ID",
)
CLEAR = "\x1b[2J\x1b[1;1H"
HOSTILE = {
    "escape": CLEAR,
    "c1": "\x9b2J",
    "operating-system-command": "\x1b]0;title\x07",
    "return": "a\rb",
    "backspace": "a\b\b",
    "right-to-left": "\u202eexe.txt",
    "isolate": "\u2067a\u2069",
    "delete": "\x7f",
    "no-utf-8": "\udc9b2J",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "format_", [None, "table {{.ID}}\t{{.CreatedBy}}", "{{.CreatedBy}}", "{{json .}}", "json"]
)
def test_a_listing_shows_control_characters_as_text(name: str, format_: str | None) -> None:
    row = {"ID": "a", "CreatedBy": f"run {HOSTILE[name]}", "Comment": ""}
    if name == "no-utf-8" and format_ is not None and "json" in format_:
        return  # neither JSON nor a configuration can hold it
    text = render_listing(LISTING, [row], format_=format_)
    assert is_safe(text)
    assert "run " in text


def test_a_line_break_in_a_table_begins_no_row() -> None:
    rows = [{"ID": "a", "CreatedBy": "x\nsha256:forged   RUN good", "Comment": ""}]
    assert len(render_listing(LISTING, rows).splitlines()) == 2
    assert len(render_listing(LISTING, rows, quiet=True).splitlines()) == 1


def test_colours_that_the_caller_typed_stay() -> None:
    row = {"ID": "a", "CreatedBy": CLEAR, "Comment": ""}
    assert render_listing(LISTING, [row], format_="\x1b[1m{{.CreatedBy}}\x1b[0m") == (
        "\x1b[1m\\x1b[2J\\x1b[1;1H\x1b[0m\n"
    )


def test_messages_and_progress_are_safe(capsys: pytest.CaptureFixture[str]) -> None:
    error = EntrepotError(f"the registry says: {CLEAR}", hint="\x9b1A")
    report_failure(error, debug=False)
    report_failure(error, debug=True)
    print_error(f"warning: {CLEAR}")
    write(f"/etc/{CLEAR}")
    reporter("plain", PULL).line(f"{CLEAR}: Pulling from app")
    captured = capsys.readouterr()
    assert is_safe(captured.out)
    assert is_safe(captured.err)
    assert "\\x1b[2J" in captured.out
    assert "\\x1b[2J" in captured.err


@fuzz(text=st.text(max_size=40))
def test_listings_are_safe_and_json_says_exactly_the_same(text: str) -> None:
    row = {"ID": "a", "CreatedBy": text, "Comment": text}
    table = render_listing(LISTING, [row])
    assert is_safe(table)
    assert table.count("\n") == 2
    said = render_listing(LISTING, [row], format_="json")
    assert is_safe(said)
    assert json.loads(said) == row
    pretty = indented_json(row)
    assert is_safe(pretty)
    assert json.loads(pretty) == row


def is_safe(text: str) -> bool:
    return not any(
        (ord(character) < 32 and character not in "\n\t")
        or 0x7F <= ord(character) < 0xA0
        or 0xD800 <= ord(character) < 0xE000
        or character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        for character in text
    )
