"""Scopes as clients ask for them: `repository:acme/app:pull,push`, `registry:catalog:*`.

Names may hold colons (a host with a port), so the first and the last colon divide. What is not understood is
left out, never an error: a client then gets a token that does less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from entrepot.errors import InvalidInput
from entrepot.oci.reference import parse_repository

__all__ = ["MAX_SCOPES", "WantedScope", "parse_scopes"]

MAX_SCOPES: Final = 64
_KNOWN: Final = frozenset({"pull", "push", "delete", "*"})


@dataclass(frozen=True, slots=True)
class WantedScope:
    """What one scope asks for. `kind` is `repository` or `registry`."""

    kind: str
    name: str
    actions: frozenset[str]


def parse_scopes(texts: Iterable[str]) -> list[WantedScope]:
    """Every scope of every parameter (each may hold several, with spaces), equal names merged, in order."""
    wanted: dict[tuple[str, str], frozenset[str]] = {}
    for text in texts:
        for item in text.split():
            scope = _parse(item)
            if scope is None:
                continue
            key = (scope.kind, scope.name)
            if key not in wanted and len(wanted) >= MAX_SCOPES:
                continue
            wanted[key] = wanted.get(key, frozenset()) | scope.actions
    return [WantedScope(kind, name, actions) for (kind, name), actions in wanted.items()]


def _parse(item: str) -> WantedScope | None:
    kind, _, rest = item.partition(":")
    name, _, actions_text = rest.rpartition(":")
    kind = kind.partition("(")[0]
    actions = frozenset(action.strip() for action in actions_text.split(","))
    if kind == "registry" and name == "catalog" and "*" in actions:
        return WantedScope("registry", "catalog", frozenset({"*"}))
    if kind != "repository" or not actions & _KNOWN:
        return None
    try:
        return WantedScope("repository", parse_repository(name), actions & _KNOWN)
    except InvalidInput:
        return None
