"""Globs match the same in Python and in SQL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, literal, literal_column, select, union_all

from entrepot.server.access.decision.errors import InvalidPattern
from entrepot.server.access.decision.patterns import (
    RepositoryPattern,
    TagPattern,
    Visible,
    parse_repository_pattern,
    parse_tag_pattern,
)

NAMES = [
    "acme",
    "acme/app",
    "acme/app/web",
    "acme/app/web/a",
    "acme_app",
    "acme/appx",
    "acmf/app",
    "b/c",
    "acme/x/base",
]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("**", NAMES),
        ("acme/app", ["acme/app"]),
        ("acme/*", ["acme/app", "acme/appx", "acme/x"]),
        ("acme/app/**", ["acme/app", "acme/app/web", "acme/app/web/a"]),
        ("acme/*/base", ["acme/x/base"]),
        ("acme/*p*", ["acme/app", "acme/appx"]),
        ("ac*e/app", ["acme/app"]),
        ("acme_app", ["acme_app"]),
    ],
)
def test_pattern_matches_whole_names(pattern: str, matched: list[str]) -> None:
    parsed = parse_repository_pattern(pattern)
    assert [name for name in NAMES if parsed.matches(name)] == [name for name in NAMES if name in matched]


@pytest.mark.parametrize(
    "bad", ["", "/a", "a//b", "a/**/b", "A/b", "a/*/**", "a b", "a/%", "a/***", "x" * 300]
)
def test_bad_repository_pattern_is_refused(bad: str) -> None:
    with pytest.raises(InvalidPattern):
        parse_repository_pattern(bad)


@pytest.mark.parametrize("bad", ["", "a/b", "v?", "a b", "x" * 200])
def test_bad_tag_pattern_is_refused(bad: str) -> None:
    with pytest.raises(InvalidPattern):
        parse_tag_pattern(bad)


def test_tag_pattern() -> None:
    assert TagPattern("v*").matches("v1.2")
    assert not TagPattern("v*").matches("latest")
    assert TagPattern("*-rc*").matches("1.0-rc2")


_names = st.lists(st.text("ab_", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)
_patterns = st.one_of(
    st.lists(
        st.text("ab_*", min_size=1, max_size=4).filter(lambda t: "**" not in t), min_size=1, max_size=4
    ).map("/".join),
    st.lists(st.text("ab_", min_size=1, max_size=3), min_size=1, max_size=3).map(
        lambda p: "/".join(p) + "/**"
    ),
)
_engine = create_engine("sqlite://")


@given(_patterns, _names)
def test_sql_says_the_same(pattern: str, name: str) -> None:
    parsed = RepositoryPattern(pattern)
    row = select(literal(name).label("name")).subquery("t")
    with _engine.connect() as connection:
        found = connection.execute(
            select(literal_column("1")).select_from(row).where(parsed.clause(row.c.name))
        ).first()
    assert (found is not None) == parsed.matches(name)


def test_visible_adds_up() -> None:
    visible = Visible(
        visibilities=("public",), project_ids=(2,), patterns=((3, RepositoryPattern("c/app/**")),)
    )
    rows = [(1, "public", "a/x"), (2, "private", "b/x"), (3, "private", "c/app/x"), (3, "private", "c/y")]
    table = union_all(
        *(
            select(
                literal(pid).label("pid"),
                literal(visibility).label("visibility"),
                literal(name).label("name"),
            )
            for pid, visibility, name in rows
        )
    ).subquery("t")

    def seen(which: Visible) -> list[str]:
        clause = which.clause(project_id=table.c.pid, visibility=table.c.visibility, repository=table.c.name)
        with _engine.connect() as connection:
            return list(connection.execute(select(table.c.name).where(clause)).scalars())

    assert seen(visible) == ["a/x", "b/x", "c/app/x"]
    assert seen(Visible(everything=True)) == ["a/x", "b/x", "c/app/x", "c/y"]
    assert seen(Visible(everything=True, only=(RepositoryPattern("c/**"),))) == ["c/app/x", "c/y"]
    assert seen(Visible()) == []
