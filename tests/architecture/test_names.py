"""One name, one thing: who reads it knows which class is meant."""

import ast
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "entrepot"


_TWINS = {
    "Histogram": "a protocol beside what keeps it: who measures knows no metrics",
    "LayerView": "the API's JSON and the page's row of one layer, each face's own",
    "RobotSecret": "the API's JSON of what the use case returns",
}


def test_no_two_classes_have_one_name_but_twins() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
                places[statement.name].append(str(path.relative_to(SOURCE)))
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in twice.items() if name not in _TWINS} == {}
    assert set(_TWINS) <= set(twice), "take it out of the list"
