"""Scopes of token requests: never an error, never a right under a name that no repository can have."""

from __future__ import annotations

from hypothesis import example
from hypothesis import strategies as st

from entrepot.oci.reference import parse_repository
from entrepot.server.access.decision.scopes import MAX_SCOPES, parse_scopes
from tests.support.fuzz import fuzz

PIECES = st.sampled_from(
    [
        *":,()*/. \n\t\x00\u00a0é\"'",
        "repository",
        "registry",
        "catalog",
        "repository(plugin)",
        "acme/app",
        "..",
        "pull",
        "push",
        "delete",
        "host:5000/app",
        "registry:catalog:*",
        "repository:acme/app:pull,push",
    ]
)
TEXTS = st.lists(st.one_of(st.lists(PIECES, max_size=14).map("".join), st.text(max_size=100)), max_size=5)


@fuzz(texts=TEXTS)
@example([" ".join(f"repository:a/r{number}:pull" for number in range(500))])
@example(["repository:a\n:pull"])
@example(["repository:" + "a" * 300 + ":pull"])
def test_scopes_are_read_or_left_out(texts: list[str]) -> None:
    found = parse_scopes(texts)
    assert len(found) <= MAX_SCOPES
    assert len({(scope.kind, scope.name) for scope in found}) == len(found)
    for scope in found:
        if scope.kind == "registry":
            assert scope.name == "catalog"
        else:
            assert scope.kind == "repository"
            assert parse_repository(scope.name) == scope.name
            assert scope.actions
            assert scope.actions <= {"pull", "push", "delete", "*"}


@fuzz(texts=TEXTS)
def test_what_was_read_reads_the_same_again(texts: list[str]) -> None:
    found = [scope for scope in parse_scopes(texts) if scope.kind == "repository"]
    written = [f"repository:{scope.name}:{','.join(sorted(scope.actions))}" for scope in found]
    assert parse_scopes(written) == found == parse_scopes([" ".join(written)])
