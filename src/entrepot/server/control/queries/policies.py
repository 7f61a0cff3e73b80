"""Rows of policies and of retention's runs, and what retention decides on, read for some repositories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from entrepot.errors import NotFound
from entrepot.server.db.tables import (
    manifest,
    manifest_child,
    policy,
    policy_preview,
    policy_version,
    project,
    repo,
    retention_run,
    tag,
    tag_event,
    tag_pull,
)
from entrepot.server.policies.facts import PolicyManifest, RepositoryFacts, TagFacts, kind_of
from entrepot.server.policies.model import Policy
from entrepot.server.policies.retention import subject_of_tag

__all__ = [
    "AT_ONCE",
    "PolicyText",
    "RunRow",
    "add_run",
    "add_version",
    "before_pushes",
    "change_run",
    "current_texts",
    "facts_of",
    "find_preview",
    "find_run",
    "forget_previews",
    "last_event",
    "list_runs",
    "list_versions",
    "live_repositories",
    "moves_since",
    "note_preview",
]

AT_ONCE: Final = 200
"""Repositories whose facts are read in one transaction."""
Repository = tuple[int, str, bool]
"""Id, name, whether its project is a proxy."""


@dataclass(frozen=True, slots=True)
class PolicyText:
    """One version. An empty `scope` is the registry, else it is a project's name."""

    scope: str
    version: int
    text: str
    at: int
    by: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of retention."""

    id: int
    state: str
    """running, done, waiting (for a person), failed, undone."""
    at: int
    finished_at: int | None
    by: str
    kept: int
    removed: int
    reason: str | None
    rows: list[list[str]]
    """Repository, tag, digest, rule, why: of what went, or was to go."""


def current_texts(connection: Connection) -> dict[str, str]:
    """By scope."""
    found = connection.execute(select(policy.c.scope, policy.c.text))
    return {row.scope: row.text for row in found}


def list_versions(connection: Connection, scope: str) -> list[PolicyText]:
    """Newest first."""
    found = (
        select(policy_version)
        .where(policy_version.c.scope == scope)
        .order_by(policy_version.c.version.desc())
    )
    return [PolicyText(*row) for row in _columns(connection, found)]


def _columns(connection: Connection, statement: Any) -> Iterator[tuple[Any, ...]]:
    for row in connection.execute(statement):
        yield row.scope, row.version, row.text, row.at, row.by


def add_version(connection: Connection, scope: str, text: str, *, at: int, by: str) -> int:
    """The text holds from now on."""
    last = select(func.max(policy_version.c.version)).where(policy_version.c.scope == scope)
    version = (connection.execute(last).scalar_one_or_none() or 0) + 1
    connection.execute(insert(policy_version).values(scope=scope, version=version, text=text, at=at, by=by))
    connection.execute(delete(policy).where(policy.c.scope == scope))
    connection.execute(insert(policy).values(scope=scope, version=version, text=text))
    return version


def note_preview(connection: Connection, scope: str, text_hash: str, shown: dict[str, Any], at: int) -> None:
    connection.execute(
        delete(policy_preview).where(policy_preview.c.scope == scope, policy_preview.c.text_hash == text_hash)
    )
    shown_text = msgspec.json.encode(shown).decode()
    connection.execute(
        insert(policy_preview).values(scope=scope, text_hash=text_hash, at=at, shown=shown_text)
    )


def find_preview(connection: Connection, scope: str, text_hash: str) -> dict[str, Any] | None:
    found = connection.execute(
        select(policy_preview.c.shown).where(
            policy_preview.c.scope == scope, policy_preview.c.text_hash == text_hash
        )
    ).scalar_one_or_none()
    return None if found is None else msgspec.json.decode(found)


def forget_previews(connection: Connection, scope: str, text_hash: str, *, older_than: int) -> None:
    """That of one text, and all old ones."""
    this = (policy_preview.c.scope == scope) & (policy_preview.c.text_hash == text_hash)
    connection.execute(delete(policy_preview).where(this | (policy_preview.c.at < older_than)))


def add_run(
    connection: Connection, *, state: str, at: int, by: str, kept: int, rows: Sequence[Sequence[str]]
) -> int:
    made = insert(retention_run).values(
        state=state, at=at, by=by, kept=kept, rows=msgspec.json.encode(rows).decode()
    )
    key = connection.execute(made).inserted_primary_key
    assert key is not None
    return int(key[0])


def change_run(connection: Connection, run: int, **values: Any) -> None:
    if "rows" in values:
        values["rows"] = msgspec.json.encode(values["rows"]).decode()
    connection.execute(update(retention_run).where(retention_run.c.id == run).values(**values))


def find_run(connection: Connection, run: int) -> RunRow:
    """Raises NotFound."""
    found = connection.execute(select(retention_run).where(retention_run.c.id == run)).one_or_none()
    if found is None:
        raise NotFound(f"there is no run {run} of retention", hint="entrepot admin policy runs lists them")
    return _run(found)


def list_runs(connection: Connection, n: int) -> list[RunRow]:
    """Newest first."""
    newest = select(retention_run).order_by(retention_run.c.id.desc()).limit(n)
    return [_run(row) for row in connection.execute(newest)]


def _run(row: Any) -> RunRow:
    values = dict(row._mapping)
    return RunRow(**{**values, "rows": msgspec.json.decode(values["rows"])})


def last_event(connection: Connection) -> int:
    """The number of the last move of any tag."""
    return int(connection.execute(select(func.max(tag_event.c.seq))).scalar_one_or_none() or 0)


def moves_since(connection: Connection, *, after: int = 0, since: int = 0) -> Iterator[Any]:
    """Moves of tags in live repositories: seq, repository, name, old, new, at, restored."""
    moves = (
        select(
            tag_event.c.seq,
            repo.c.name.label("repository"),
            tag_event.c.name,
            tag_event.c.old,
            tag_event.c.new,
            tag_event.c.at,
            tag_event.c.by,
        )
        .join(repo, repo.c.id == tag_event.c.repo_id)
        .where(repo.c.deleted_at.is_(None), tag_event.c.seq > after, tag_event.c.at >= since)
        .order_by(tag_event.c.seq)
    )
    yield from connection.execute(moves)


def before_pushes(connection: Connection, after: int) -> dict[tuple[str, str], tuple[str, int] | None]:
    """Each tag that was set after that event, by repository and name: what it was until then, and since when;
    None: it was not there.
    """
    found: dict[tuple[str, str], tuple[str, int] | None] = {}
    for move in moves_since(connection, after=after):
        key = move.repository, move.name
        if move.new is None or key in found:
            continue
        last = (
            select(tag_event.c.new, tag_event.c.at)
            .join(repo, repo.c.id == tag_event.c.repo_id)
            .where(
                repo.c.name == move.repository,
                repo.c.deleted_at.is_(None),
                tag_event.c.name == move.name,
                tag_event.c.seq <= after,
            )
            .order_by(tag_event.c.seq.desc())
            .limit(1)
        )
        was = connection.execute(last).one_or_none()
        found[key] = None if was is None or was.new is None else (was.new, was.at)
    return found


def live_repositories(connection: Connection, *, project_name: str | None = None) -> list[Repository]:
    """By name."""
    found = (
        select(repo.c.id, repo.c.name, project.c.kind)
        .join(project, project.c.id == repo.c.project_id)
        .where(repo.c.deleted_at.is_(None), project.c.deleted_at.is_(None))
        .order_by(repo.c.name)
    )
    if project_name is not None:
        found = found.where(project.c.name == project_name)
    return [(row.id, row.name, row.kind == "proxy") for row in connection.execute(found)]


def facts_of(
    connection: Connection, repositories: Iterable[Repository], policy_: Policy
) -> Iterator[RepositoryFacts]:
    """Of each, in the order given. What its manifests need is read where it decides something."""
    chosen = list(repositories)
    tags = _tags(connection, [one[0] for one in chosen])
    for repo_id, name, is_proxy in chosen:
        found = tags.get(repo_id, [])
        asks_untagged = any(
            rule.untagged_older_than is not None
            for block in policy_.retention
            if name in block.repositories
            for rule in block.delete
        )
        if asks_untagged or any(subject_of_tag(one.name) for one in found):
            untagged, children = _graph(connection, repo_id, {one.digest for one in found})
            yield RepositoryFacts(name, found, untagged, children, is_proxy=is_proxy)
        else:
            yield RepositoryFacts(name, found, is_proxy=is_proxy)


_TAGS = (
    select(
        tag.c.repo_id,
        tag.c.name,
        tag.c.digest,
        tag.c.updated_at,
        tag_pull.c.pulled_at,
        manifest.c.pulled_at.label("digest_pulled_at"),
        manifest.c.media_type,
        manifest.c.artifact_type,
    )
    .join(manifest, (manifest.c.repo_id == tag.c.repo_id) & (manifest.c.digest == tag.c.digest))
    .outerjoin(tag_pull, (tag_pull.c.repo_id == tag.c.repo_id) & (tag_pull.c.name == tag.c.name))
    .order_by(tag.c.repo_id, tag.c.name)
)


def _tags(connection: Connection, repo_ids: Sequence[int]) -> dict[int, list[TagFacts]]:
    found: dict[int, list[TagFacts]] = {}
    if not repo_ids:
        return found
    for row in connection.execute(_TAGS.where(tag.c.repo_id.in_(repo_ids))):
        repo_id, name, digest, pushed_at, pulled_at, by_digest, media_type, artifact_type = row
        # Who pins a digest pulls by it: that is a use of each tag on it.
        used = max(pulled_at or 0, by_digest or 0) or None
        one = TagFacts(name, digest, pushed_at, used, kind_of(media_type, artifact_type))
        found.setdefault(repo_id, []).append(one)
    return found


def _graph(
    connection: Connection, repo_id: int, tagged: set[str]
) -> tuple[list[PolicyManifest], dict[str, list[str]]]:
    rows = connection.execute(
        select(manifest.c.digest, manifest.c.pushed_at, manifest.c.subject)
        .where(manifest.c.repo_id == repo_id, manifest.c.deleted_at.is_(None))
        .order_by(manifest.c.id)
    )
    untagged = [PolicyManifest(*row) for row in rows if row.digest not in tagged]
    children: dict[str, list[str]] = {}
    pairs = (
        select(manifest.c.digest, manifest_child.c.digest)
        .join(manifest_child, manifest_child.c.manifest_id == manifest.c.id)
        .where(manifest.c.repo_id == repo_id, manifest.c.deleted_at.is_(None))
    )
    for parent, child in connection.execute(pairs):
        children.setdefault(parent, []).append(child)
    return untagged, children
