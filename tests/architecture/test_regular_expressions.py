"""No text makes a regular expression of the program slow: texts come from strangers.

Every use of `re` in the source is found; its pattern is tried by `tests.support.backtracking`.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from entrepot.server.v2.routes import ROUTES, compile_pattern
from tests.support.backtracking import Mode, slow_text

SOURCE = Path(__file__).parents[2] / "src"
SCANS = frozenset({"search", "findall", "finditer", "sub", "subn", "split"})
USES = SCANS | {"match", "fullmatch"}

MADE_WHILE_RUNNING = {
    "entrepot.actions.filters": "what the caller typed, on the caller's images",
    "entrepot.actions.ps": "what the caller typed, on the caller's containers",
    "entrepot.server.v2.routes": "tried below",
    "entrepot.server.doctor.inside": "a constant word",
}


@dataclass(frozen=True)
class Use:
    """A pattern of the source and how it is used."""

    module: str
    line: int
    pattern: str | bytes
    flags: int
    mode: Mode

    def __str__(self) -> str:
        return f"{self.module}:{self.line}-{self.mode}"


def uses_in(path: Path) -> Iterator[Use]:
    """Of one file. A compiled pattern counts for each of its methods; for both ways where none is seen."""
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [call for call in calls if _is_re(call)]
    if not found:
        return
    module = importlib.import_module(name)
    names = _names_of_patterns(tree)
    for call in found:
        assert isinstance(call.func, ast.Attribute)
        try:
            pattern = _value(call.args[0], module)
        except NameError:
            assert name in MADE_WHILE_RUNNING, f"{name}:{call.lineno}: a pattern made while running"
            continue
        flags = int(_value(call.args[1], module)) if call.func.attr == "compile" and len(call.args) > 1 else 0
        for keyword in [*call.keywords, *(call.args[2:] if call.func.attr in {"findall", "search"} else ())]:
            value = keyword.value if isinstance(keyword, ast.keyword) else keyword
            flags |= int(_value(value, module))
        methods = {call.func.attr}
        if call.func.attr == "compile":
            methods = _methods(tree, names.get(call, "")) or {"fullmatch", "search"}
        for mode in sorted({_mode(method) for method in methods}):
            yield Use(name, call.lineno, pattern, flags, mode)


def _is_re(call: ast.Call) -> bool:
    func = call.func
    return (
        isinstance(func, ast.Attribute)
        and isinstance(func.value, ast.Name)
        and func.value.id == "re"
        and func.attr in USES | {"compile"}
    )


def _value(node: ast.expr, module: Any) -> Any:
    return eval(compile(ast.Expression(node), "<pattern>", "eval"), vars(module))


def _names_of_patterns(tree: ast.Module) -> dict[ast.AST, str]:
    named: dict[ast.AST, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named[node.value] = node.targets[0].id
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            named[node.value] = node.target.id
    return named


def _methods(tree: ast.Module, name: str) -> set[str]:
    """What is done with a name in its own file; nothing when it is also handed on."""
    methods, elsewhere = set(), False
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            parent = parents[node]
            if isinstance(parent, ast.Attribute) and parent.attr in USES:
                methods.add(parent.attr)
            else:
                elsewhere = True
    return set() if elsewhere else methods


def _mode(method: str) -> Mode:
    if method in SCANS:
        return "scan"
    return "fullmatch" if method == "fullmatch" else "match"


USES_FOUND = [use for path in sorted(SOURCE.rglob("*.py")) for use in uses_in(path)]


@pytest.mark.parametrize("use", USES_FOUND, ids=str)
def test_twice_the_text_takes_at_most_twice_the_steps(use: Use) -> None:
    text = slow_text(use.pattern, use.flags, use.mode)
    assert text is None, f"{use.pattern!r} takes quadratic time or worse for {text!r}"


@pytest.mark.parametrize("pattern", sorted({route.pattern for route in ROUTES}))
def test_a_route_is_found_in_time_that_grows_with_its_path(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    assert slow_text(compiled.pattern, compiled.flags & ~re.UNICODE, "fullmatch") is None


def test_patterns_were_found() -> None:
    assert len(USES_FOUND) > 60


KNOWN: list[tuple[str, Mode, bool]] = [
    (r"\s*# buildkit\Z", "scan", True),
    (r"\s+$", "scan", True),
    (r"<Rule>.*?</Rule>", "scan", True),
    (r"([0-9.]+)(ms|[smh])", "scan", True),
    (r"\d+\d+x", "match", True),
    (r"\d+\d+", "match", False),
    (r"\d+\d+", "fullmatch", True),
    (r"(a+)+b", "match", True),
    (r"(a|a)*b", "match", True),
    (r"(\w+\s?)*;", "match", True),
    (r"(?:a*+)+b", "match", False),
    (r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z", "match", False),
    (r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', "scan", False),
    (r"(?<![0-9])[0-9]++x", "scan", False),
    (r"key=[^&]*", "scan", False),
    (r"/blobs/(?:[^/]*(?::|%3a)[^/]*)", "fullmatch", True),
    (r"\b[a-z][a-z.]*://", "scan", True),
    (r"[a-z][a-z.]*://", "match", False),
    (r"(?:.*/)?x", "match", False),
]


@pytest.mark.parametrize(("pattern", "mode", "slow"), KNOWN)
def test_slow_patterns_are_told_from_quick_ones(pattern: str, mode: Mode, slow: bool) -> None:
    assert (slow_text(pattern, 0, mode) is not None) == slow
