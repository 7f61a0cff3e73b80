"""The documentation covers what there is, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from entrepot.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_has_a_page(command: str) -> None:
    page = DOCS / f"{command.replace(' ', '-')}.md"
    assert page.is_file(), f"write {page.relative_to(ROOT)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = _LINK.findall(page.read_text())
    broken = [target for target in targets if not (page.parent / target).exists()]
    assert not broken


def test_every_page_can_be_reached_from_the_index() -> None:
    seen, waiting = set(), [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or not page.is_file():
            continue
        seen.add(page)
        waiting += [
            (page.parent / target).resolve()
            for target in _LINK.findall(page.read_text())
            if target.endswith(".md")
        ]
    unreachable = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {
        str(page.relative_to(DOCS)) for page in seen if page.is_relative_to(DOCS)
    }
    assert not unreachable, "link them from docs/README.md or docs/cli.md"


_ROW = re.compile(r"^\| ([A-Z]\d+(?:, [A-Z]\d+)*) \|.*\| ([^|]+) \|$", re.MULTILINE)
_FAULT_IDS = [
    *(f"C{number}" for number in range(1, 10)),
    *(f"D{number}" for number in range(1, 4)),
    *(f"G{number}" for number in range(1, 9)),
    *(f"B{number}" for number in range(1, 6)),
    *(f"S{number}" for number in range(1, 4)),
    "U9",
    "U10",
]


def test_every_fault_has_a_row_and_every_row_a_test_that_says_so() -> None:
    """docs/reliability.md names tests; those name the fault."""
    files: dict[str, list[Path]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        files.setdefault(path.name, []).append(path)
    seen, wrong = set[str](), list[str]()
    for ids, cell in _ROW.findall((DOCS / "reliability.md").read_text()):
        named = re.findall(r"`([a-z/_]+\.py)`", cell)
        found = [path for name in named for path in files.get(Path(name).name, []) if path.match(f"*{name}")]
        if not named:  # "the same tests": as the row before
            seen.update(ids.split(", "))
            continue
        wrong += [f"{ids}: no {name}" for name in named if Path(name).name not in files]
        text = "\n".join(path.read_text() for path in found)
        for fault in ids.split(", "):
            seen.add(fault)
            first, last = fault[0], int(fault[1:])
            ranges = re.findall(rf"\b{first}(\d+)-{first}(\d+)\b", text)
            in_range = any(int(low) <= last <= int(high) for low, high in ranges)
            if not in_range and not re.search(rf"\b{fault}\b", text):
                wrong.append(f"{fault}: none of {named} names it")
    assert wrong == []
    assert set(_FAULT_IDS) - seen == set()
