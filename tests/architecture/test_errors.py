"""Every error has a code of its own that people and scripts can rely on."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import entrepot
from entrepot.errors import EntrepotError


def _all_errors(base: type[EntrepotError]) -> list[type[EntrepotError]]:
    return [base, *(each for child in base.__subclasses__() for each in _all_errors(child))]


def _import_everything() -> None:
    for module in pkgutil.walk_packages(entrepot.__path__, "entrepot."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def test_error_codes_are_unique_kebab_case() -> None:
    _import_everything()
    errors = [each for each in _all_errors(EntrepotError) if "code" in vars(each)]
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", each.code) for each in errors)
    codes = [each.code for each in errors]
    assert sorted(codes) == sorted(set(codes))


NO_CALLER = {"AssertionError", "NotImplementedError", "StopIteration", "SystemExit"}
"""Raised for nobody who calls: a mistake of our own, or the end of a loop or program."""
FACES = ("cli", "server/api", "server/pages", "server/v2")
"""Their functions are called by a framework, which makes an answer of what they raise."""


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the function is called, not what functions inside it do later."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own(child)


def _raised(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    exceptions = (node.exc for node in _own(function) if isinstance(node, ast.Raise) and node.exc is not None)
    kinds = (each.func if isinstance(each, ast.Call) else each for each in exceptions)
    return {kind.id for kind in kinds if isinstance(kind, ast.Name) and kind.id[0].isupper()} - NO_CALLER


def _silent(tree: ast.Module) -> Iterator[str]:
    for holder in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
        if isinstance(holder, ast.ClassDef) and holder.name.startswith("_"):
            continue
        for function in holder.body:
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = ast.get_docstring(function)
            # A method without a word of its own is said by the Protocol or class it comes from.
            if function.name.startswith("_") or (text is None and isinstance(holder, ast.ClassDef)):
                continue
            raised = _raised(function)
            if raised and "aise" not in (text or "") and not any(name in (text or "") for name in raised):
                yield f"{function.name} raises {', '.join(sorted(raised))}"


def test_public_functions_say_what_they_raise() -> None:
    root = Path(entrepot.__file__).parent
    silent = {
        str(file.relative_to(root)): found
        for file in sorted(root.rglob("*.py"))
        if not str(file.relative_to(root)).startswith(FACES)
        if (found := list(_silent(ast.parse(file.read_text()))))
    }
    assert silent == {}
