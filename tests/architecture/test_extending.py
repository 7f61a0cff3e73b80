"""docs/extending.md names files and what is in them; both are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text()
PROSE = re.sub(r"```diff\n.*?```", "", TEXT, flags=re.DOTALL)
NAMED = sorted(set(re.findall(r"`((?:src|tests)/[\w/.]+)`", PROSE)))
DIFFS = re.findall(r"^\+\+\+ (\S+)\n((?:(?!\+\+\+ |```).*\n)*)", TEXT, flags=re.MULTILINE)
NEW = {"src/entrepot/actions/untag.py", "src/entrepot/cli/commands/untag.py",
       "src/entrepot/server/upkeep/idle_robots.py"}  # fmt: skip
"""Files that the page makes."""
NAMES = {
    "src/entrepot/server/control/transaction.py": ["class Transaction", "def require"],
    "src/entrepot/server/api/app.py": ["ROUTES:"],
    "src/entrepot/server/pages/app.py": ["PAGES:"],
    "src/entrepot/cli/commands/admin/__init__.py": ["ADMIN_COMMANDS:"],
    "src/entrepot/server/storage/driver.py": ["class SegmentDriver"],
    "src/entrepot/server/storage/memory.py": ["class MemoryDriver"],
    "src/entrepot/server/storage/store.py": ["class BlobStore"],
    "src/entrepot/server/storage/segments.py": ["class SegmentedUploads"],
    "src/entrepot/server/compose.py": ["def open_store"],
    "src/entrepot/server/doctor/bucket_rule.py": ["def check_lifecycle"],
    "src/entrepot/server/control/job_kinds.py": ["class JobKind", "JOB_KINDS:"],
    "src/entrepot/cli/main.py": ["COMMANDS:", "SECTIONS:"],
    "src/entrepot/__init__.py": ["_EXPORTS:"],
    "tests/contract/storage/test_blob_store.py": ["MAKERS:"],
}


@pytest.mark.parametrize("path", sorted({*NAMED, *(path for path, _ in DIFFS)} - NEW))
def test_a_file_it_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("path", sorted(NAMES))
def test_what_it_names_is_where_it_says(path: str) -> None:
    source = (ROOT / path).read_text()
    for definition in NAMES[path]:
        assert f"`{re.split('[ :.]', definition)[1] if ' ' in definition else definition[:-1]}" in PROSE or (
            definition == "def require" and "`Transaction.require`" in PROSE
        )
        assert re.search(rf"^ *(?:async )?{re.escape(definition)}\b" if " " in definition
                         else rf"^{re.escape(definition)}", source, flags=re.MULTILINE)  # fmt: skip


def test_what_a_diff_replaces_stands_in_the_file() -> None:
    gone = [
        (path, line[1:])
        for path, body in DIFFS
        for line in body.splitlines()
        if line.startswith("-") and line[1:] not in (ROOT / path).read_text().splitlines()
    ]
    assert gone == []


def test_what_a_diff_imports_is_there() -> None:
    missing = []
    for _, body in DIFFS:
        for module, names in re.findall(
            r"^\+ *from (entrepot\.[\w.]+) import ([\w, ]+)$", body, flags=re.MULTILINE
        ):
            path = ROOT / "src" / module.replace(".", "/")
            if f"{path.relative_to(ROOT)}.py" in NEW or path.name == "shared_folder":
                continue
            found = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
            text = found.read_text() if found.is_file() else ""
            missing += [
                (module, name)
                for name in (each.split(" as ")[0].strip() for each in names.split(","))
                if not re.search(rf"\b{name}\b", text) and not (path / f"{name}.py").is_file()
            ]
    assert missing == []
