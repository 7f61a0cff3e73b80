"""Searching repositories, tags, digests and what other registries hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, union_all

from entrepot.server.access.decision.patterns import Visible
from entrepot.server.control.queries.upstreams import upstream_seen
from entrepot.server.db.tables import manifest, manifest_blob, project, repo, repo_blob, tag
from entrepot.server.db.tables.access import repo_label, repo_profile, upstream_repo
from entrepot.server.repos.repositories import best_first, search_words, word_in
from entrepot.server.repos.visibility import only_visible

__all__ = ["SearchHit", "search"]

MAX_TAG_REPOSITORIES: Final = 25
"""Repositories whose tags a search looks through, the shortest names first."""
MAX_OWN_REPOSITORIES: Final = 100
"""Who sees fewer than so many has all of their tags looked through."""
MAX_TAG_MATCHES: Final = 2_000
"""Tags of one beginning that are looked at, for those who see many repositories."""
_AFTER_TAGS: Final = "\x7f"
"""Sorts after every character a tag may have."""


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A result of a search. `kind`: repository, tag, digest, upstream."""

    kind: str
    name: str
    description: str
    digest: str | None = None
    registry: str | None = None


def search(connection: Connection, visible: Visible, term: str, *, n: int = 20) -> list[SearchHit]:
    """Repositories that have each word in their name, description or labels, digests by prefix (of manifests,
    and of the layers and configurations in them), tags (`app:v1`, or `v1` alone), repositories of other
    registries.

    A name may be pasted with its registry. When there is more than fits, a third of the places is for what is
    no repository.
    """
    term = _without_host(term.strip())
    lowered = term.lower()
    if not term:
        return []
    others = _search_digests(connection, visible, lowered, n)
    if len(others) < n:
        others += _search_tags(connection, visible, term, n - len(others))
    if len(others) < n:
        others += [
            SearchHit("upstream", row.name, "", None, row.registry)
            for row in connection.execute(
                select(upstream_repo.c.registry, upstream_repo.c.name)
                .where(upstream_repo.c.name.contains(lowered, autoescape=True), upstream_seen(visible))
                .order_by(upstream_repo.c.name)
                .limit(n - len(others))
            )
        ]
    found = _search_repositories(connection, visible, lowered, n - min(len(others), n // 3))
    return [*found, *others[: n - len(found)]]


def _without_host(term: str) -> str:
    """`localhost:5000/acme/app:v1` as somebody copies it."""
    first, slash, rest = term.partition("/")
    return rest if slash and (":" in first or first == "localhost") else term


def _search_repositories(connection: Connection, visible: Visible, term: str, n: int) -> list[SearchHit]:
    words = search_words(term)
    query = (
        select(repo.c.name, func.coalesce(repo_profile.c.description, ""))
        .join(project, project.c.id == repo.c.project_id)
        .outerjoin(repo_profile, repo_profile.c.repo_id == repo.c.id)
        .where(*(or_(word_in(word), _labelled(word)) for word in words))
        .order_by(*best_first(words))
        .limit(n)
    )
    return [
        SearchHit("repository", name, text) for name, text in connection.execute(only_visible(query, visible))
    ]


def _labelled(word: str) -> ColumnElement[bool]:
    return repo.c.id.in_(
        select(repo_label.c.repo_id).where(repo_label.c.label.startswith(word, autoescape=True))
    )


def _search_digests(connection: Connection, visible: Visible, term: str, n: int) -> list[SearchHit]:
    """Also of what was copied with a name: `acme/app@sha256:…`."""
    wanted = term.rpartition("@")[2].removeprefix("sha256:")
    if len(wanted) < 6 or not all(c in "0123456789abcdef" for c in wanted):
        return []
    # A range, so that the index on the digest is used.
    first, last = f"sha256:{wanted}", f"sha256:{wanted}g"
    live = manifest.c.deleted_at.is_(None)
    manifests = (
        select(repo.c.name, manifest.c.digest)
        .select_from(manifest)
        .join(repo, repo.c.id == manifest.c.repo_id)
        .join(project, project.c.id == repo.c.project_id)
        .where(manifest.c.digest >= first, manifest.c.digest < last, live)
        .order_by(repo.c.name)
        .limit(n)
    )
    found = [
        SearchHit("digest", name, "", digest)
        for name, digest in connection.execute(only_visible(manifests, visible))
    ]
    if len(found) >= n:
        return found
    parts = (
        select(repo.c.name, manifest.c.digest)
        .select_from(repo_blob)
        .join(
            manifest_blob,
            and_(
                manifest_blob.c.repo_id == repo_blob.c.repo_id, manifest_blob.c.digest == repo_blob.c.digest
            ),
        )
        .join(manifest, manifest.c.id == manifest_blob.c.manifest_id)
        .join(repo, repo.c.id == manifest.c.repo_id)
        .join(project, project.c.id == repo.c.project_id)
        .where(repo_blob.c.digest >= first, repo_blob.c.digest < last, repo_blob.c.deleted_at.is_(None), live)
        .distinct()
        .order_by(repo.c.name, manifest.c.digest)
        .limit(n - len(found))
    )
    found += [
        SearchHit("digest", name, "a layer or the configuration has this digest", digest)
        for name, digest in connection.execute(only_visible(parts, visible))
    ]
    return found


def _search_tags(connection: Connection, visible: Visible, term: str, n: int) -> list[SearchHit]:
    """`app:v1`: tags that begin so in repositories named so; `v1` or `:v1`: in any."""
    repository, _, tag_text = term.rpartition(":")
    if "/" in tag_text or "@" in term or (not repository and len(term) < 2):
        return []
    rows = _few_repositories(connection, visible, repository.lower(), tag_text)
    if rows is None:
        rows = _any_repository(connection, visible, tag_text, n)
    wanted = tag_text.lower()
    rows = sorted(rows, key=lambda row: (row[1].lower() != wanted, len(row[0]) + len(row[1]), *row))
    return [SearchHit("tag", f"{name}:{tag_name}", "", digest) for name, tag_name, digest in rows[:n]]


def _few_repositories(
    connection: Connection, visible: Visible, repository: str, tag_text: str
) -> list[tuple[str, str, str]] | None:
    """Tags of the repositories that fit; None when no name was given and there are many."""
    most = MAX_TAG_REPOSITORIES if repository else MAX_OWN_REPOSITORIES
    candidates = (
        select(repo.c.id, repo.c.name)
        .join(project, project.c.id == repo.c.project_id)
        .order_by(func.length(repo.c.name), repo.c.name)
        .limit(most)
    )
    if repository:
        candidates = candidates.where(repo.c.name.contains(repository, autoescape=True))
    names = {row.id: row.name for row in connection.execute(only_visible(candidates, visible))}
    if not repository and len(names) == most:
        return None
    if not names:
        return []
    query = (
        select(tag.c.repo_id, tag.c.name, tag.c.digest)
        .where(tag.c.repo_id.in_(names), func.lower(tag.c.name).startswith(tag_text.lower(), autoescape=True))
        .order_by(tag.c.repo_id, tag.c.name)
    )
    return [(names[row.repo_id], row.name, row.digest) for row in connection.execute(query)]


def _any_repository(
    connection: Connection, visible: Visible, tag_text: str, n: int
) -> list[tuple[str, str, str]]:
    """By the index over all tags' names: as typed, in small and in capital letters; exact ones first."""
    # Each range by itself is read in the index's order and stops at the limit; both together would be sorted.
    ranges = [
        select(tag.c.repo_id, tag.c.name, tag.c.digest)
        .where(tag.c.name >= text, tag.c.name < text + _AFTER_TAGS)
        .order_by(tag.c.name)
        .limit(MAX_TAG_MATCHES)
        .subquery()
        for text in dict.fromkeys((tag_text, tag_text.lower(), tag_text.upper()))
    ]
    matches = union_all(*(select(one) for one in ranges)).subquery()
    query = (
        select(repo.c.name, matches.c.name, matches.c.digest)
        .select_from(matches)
        .join(repo, repo.c.id == matches.c.repo_id)
        .join(project, project.c.id == repo.c.project_id)
        .order_by(
            case((func.lower(matches.c.name) == tag_text.lower(), 0), else_=1),
            matches.c.name,
            func.length(repo.c.name),
            repo.c.name,
        )
        .limit(n)
    )
    rows: Any = connection.execute(only_visible(query, visible)).all()
    return [tuple(row) for row in rows]
