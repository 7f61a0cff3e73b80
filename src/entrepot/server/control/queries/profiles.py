"""What people add to a repository: description, README, labels, stars."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from entrepot.errors import InvalidInput
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import VersionMismatch
from entrepot.server.db.tables.access import repo_label, repo_profile, star

__all__ = ["change_profile", "get_profile", "is_starred", "set_star"]

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,62}[a-z0-9])?\Z")


def get_profile(connection: Connection, repo_id: int) -> tuple[str, str, int]:
    """(description, README, version); version 0 while nothing was written."""
    row = connection.execute(select(repo_profile).where(repo_profile.c.repo_id == repo_id)).one_or_none()
    return ("", "", 0) if row is None else (row.description, row.readme, row.version)


def change_profile(
    connection: Connection,
    by: Actor,
    repo_id: int,
    name: str,
    *,
    now: int,
    description: str | None = None,
    readme: str | None = None,
    labels: Iterable[str] | None = None,
    expected_version: int | None = None,
) -> int:
    """None leaves a field as it is. Returns the new version. Raises VersionMismatch, InvalidInput."""
    old_description, old_readme, version = get_profile(connection, repo_id)
    if expected_version is not None and expected_version != version:
        raise VersionMismatch(f"{name} was changed meanwhile; read it again")
    values: dict[str, Any] = {
        "description": old_description if description is None else description,
        "readme": old_readme if readme is None else readme,
        "version": version + 1,
        "updated_at": now,
        "updated_by": by.name,
    }
    if version == 0:
        connection.execute(insert(repo_profile).values(repo_id=repo_id, **values))
    else:
        connection.execute(update(repo_profile).where(repo_profile.c.repo_id == repo_id).values(values))
    if labels is not None:
        _set_labels(connection, repo_id, labels)
    changed = [
        key
        for key, value in (("description", description), ("readme", readme), ("labels", labels))
        if value is not None
    ]
    record(connection, by, "edit-repository", now=now, repository=name, detail={"changed": changed})
    return version + 1


def _set_labels(connection: Connection, repo_id: int, labels: Iterable[str]) -> None:
    wanted = sorted({label.strip().lower() for label in labels})
    bad = [label for label in wanted if not _LABEL.match(label)]
    if bad:
        raise InvalidInput(
            f"label {bad[0]!r} is not valid", hint="use lower-case letters, digits, and . _ - / inside"
        )
    connection.execute(delete(repo_label).where(repo_label.c.repo_id == repo_id))
    if wanted:
        connection.execute(insert(repo_label), [{"repo_id": repo_id, "label": label} for label in wanted])


def is_starred(connection: Connection, repo_id: int, principal_id: int) -> bool:
    query = select(star.c.at).where(star.c.repo_id == repo_id, star.c.principal_id == principal_id)
    return connection.execute(query).first() is not None


def set_star(connection: Connection, repo_id: int, principal_id: int, *, starred: bool, now: int) -> None:
    """Safe to repeat. Stars are nobody's business but one's own: no audit row."""
    if starred == is_starred(connection, repo_id, principal_id):
        return
    if starred:
        connection.execute(insert(star).values(repo_id=repo_id, principal_id=principal_id, at=now))
    else:
        connection.execute(delete(star).where(star.c.repo_id == repo_id, star.c.principal_id == principal_id))
