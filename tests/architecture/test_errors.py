"""Every error has a code of its own that people and scripts can rely on."""

import importlib
import pkgutil
import re

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
