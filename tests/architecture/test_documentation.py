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
