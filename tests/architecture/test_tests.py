"""Every verb has a small test of its own, beside the walks through many."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_action_is_tried_alone() -> None:
    texts = "\n".join(path.read_text() for path in (ROOT / "tests" / "unit" / "actions").glob("*.py"))
    actions = {path.stem for path in (ROOT / "src" / "entrepot" / "actions").glob("[!_]*.py")}
    tried = {
        name
        for name in actions
        if f"from entrepot.actions.{name} import" in texts or f"import {name} as action" in texts
    }
    assert actions - tried == set(), "write tests/unit/actions/test_….py"
