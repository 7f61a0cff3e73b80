"""Scopes as clients write them."""

import pytest

from entrepot.server.access.decision.scopes import WantedScope, parse_scopes


def repository(name: str, *actions: str) -> WantedScope:
    return WantedScope("repository", name, frozenset(actions))


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ([], []),
        (["repository:acme/app:pull,push"], [repository("acme/app", "pull", "push")]),
        (["repository:a:pull repository:b:pull"], [repository("a", "pull"), repository("b", "pull")]),
        (["repository:a:pull", "repository:a:push"], [repository("a", "pull", "push")]),
        (["repository(plugin):a/b:pull"], [repository("a/b", "pull")]),
        (["repository:a:*"], [repository("a", "*")]),
        (["registry:catalog:*"], [WantedScope("registry", "catalog", frozenset({"*"}))]),
        (["repository:A:pull", "nonsense", "repository:a", "repository::pull", "repository:a:fly"], []),
        (["registry:catalog:delete,\x00", "registry:other:*"], []),
        (["repository:host:5000/a:pull"], []),
        (["repository:../etc:pull"], []),
    ],
)
def test_scopes_are_read(texts: list[str], wanted: list[WantedScope]) -> None:
    assert parse_scopes(texts) == wanted


def test_number_of_scopes_is_bounded() -> None:
    assert len(parse_scopes([f"repository:r{n}:pull" for n in range(500)])) == 64
