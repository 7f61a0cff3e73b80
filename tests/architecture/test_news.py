"""Every change's news is in the notes of the next release."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_each_file_is_named_slug_and_type() -> None:
    """towncrier passes over a name it does not know, and its news would be lost without a word."""
    types = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
    known = {one["directory"] for one in types}
    odd = [
        path.name
        for path in (ROOT / "news").iterdir()
        if path.name != "template.md.jinja"
        and (
            path.suffixes[-1:] != [".md"] or path.name.split(".")[1] not in known or path.name.count(".") != 2
        )
    ]
    assert odd == [], f"name it <slug>.<type>.md; a type is one of {', '.join(sorted(known))}"


def test_the_notes_hold_each_file_once() -> None:
    """Without the files' names, which mean nothing to a reader."""
    notes = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", "--draft"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for path in (ROOT / "news").glob("*.md"):
        first = path.read_text().split("\n", 1)[0].removeprefix("- ")
        assert notes.count(first) == 1, path.name
        assert f"({path.name.split('.')[0]})" not in notes
