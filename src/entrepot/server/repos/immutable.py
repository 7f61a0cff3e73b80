"""Tags that a policy keeps as they are: asked inside the transaction that would move or delete one.

A push that makes a tag, or names what it is already, asks nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from entrepot.server.db.statements import Prepared
from entrepot.server.db.tables import manifest, policy, project, repo, tag
from entrepot.server.policies.facts import kind_of
from entrepot.server.policies.immutability import immutable_by, told
from entrepot.server.policies.model import Immutable, Policy
from entrepot.server.repos.errors import TagImmutable

__all__ = ["policy_for", "require_all_mutable", "require_mutable"]

_TEXTS: Final = Prepared(
    select(policy.c.scope, policy.c.text)
    .where((policy.c.scope == "") | (policy.c.scope == bindparam("p_project")))
    .order_by(policy.c.scope)
)
_KIND: Final = Prepared(
    select(project.c.kind)
    .join(repo, repo.c.project_id == project.c.id)
    .where(repo.c.name == bindparam("p_name"), repo.c.deleted_at.is_(None))
)
_MANIFEST: Final = Prepared(
    select(manifest.c.media_type, manifest.c.artifact_type)
    .join(repo, repo.c.id == manifest.c.repo_id)
    .where(
        repo.c.name == bindparam("p_name"),
        repo.c.deleted_at.is_(None),
        manifest.c.digest == bindparam("p_digest"),
    )
)
_TAGS: Final = (
    select(tag.c.name, tag.c.digest, manifest.c.media_type, manifest.c.artifact_type)
    .join(repo, repo.c.id == tag.c.repo_id)
    .join(manifest, (manifest.c.repo_id == tag.c.repo_id) & (manifest.c.digest == tag.c.digest))
    .where(repo.c.name == bindparam("p_name"), repo.c.deleted_at.is_(None))
    .order_by(tag.c.name)
)


def policy_for(connection: Connection, project_name: str) -> Policy | None:
    """What holds in a project; None: nothing was ever written down."""
    texts: Sequence[tuple[Any, ...]] = _TEXTS.rows(connection, {"p_project": project_name})
    if not texts:
        return None
    # Here: a registry without policies loads none of their libraries.
    from entrepot.server.policies.document import join, parse_policy

    registry = next((parse_policy(text) for scope, text in texts if not scope), Policy())
    return join(registry, {scope: parse_policy(text, scope) for scope, text in texts if scope})


def require_mutable(
    connection: Connection, repository: str, name: str, digest: str, *, doing: str, by_retention: bool = False
) -> None:
    """`digest`: what the tag is now; `doing`: `overwritten` or `deleted`. Raises TagImmutable."""
    rules = _rules(connection, repository)
    if not rules:
        return
    types: Any = ("", None)
    if any(rule.tags.kinds for rule in rules):
        types = _MANIFEST.row(connection, {"p_name": repository, "p_digest": digest}) or types
    rule = immutable_by(rules, repository, name, kind_of(*types), by_retention=by_retention)
    if rule is not None:
        raise TagImmutable(repository, name, digest, told(rule), doing)


def require_all_mutable(connection: Connection, repository: str) -> None:
    """Before the repository goes with all its tags. Raises TagImmutable for the first that may not."""
    rules = _rules(connection, repository)
    if not rules:
        return
    for name, digest, *types in connection.execute(_TAGS, {"p_name": repository}):
        rule = immutable_by(rules, repository, name, kind_of(*types))
        if rule is not None:
            raise TagImmutable(repository, name, digest, told(rule), "deleted with its repository")


def _rules(connection: Connection, repository: str) -> tuple[Immutable, ...]:
    """None in a proxy project: its tags are what they are elsewhere."""
    found = policy_for(connection, repository.partition("/")[0])
    if found is None or not found.immutable:
        return ()
    return () if _KIND.value(connection, {"p_name": repository}) == "proxy" else found.immutable
