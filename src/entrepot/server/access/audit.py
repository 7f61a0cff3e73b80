"""The audit log's one writer: a row in the transaction of the change itself.

What is audited is in the feed of events, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, insert

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change
from entrepot.server.db.journal import Audience, add_event
from entrepot.server.db.statements import Prepared
from entrepot.server.db.tables.journal import audit

__all__ = ["record", "record_change"]

_TOLD_WITH_MORE: Final = frozenset(
    {
        "push",
        "create-tag",
        "overwrite-tag",
        "delete-tag",
        "delete-manifest",
        "delete-blob",
        "restore",
        "delete-repository",
        "delete-project",
        "mount",
    }
)
"""Changes of content, of which `repos` writes an event that says more; a mount is no change to see."""
_FOR_READERS: Final = frozenset({"create-project", "create-repository", "edit-repository"})
_COLUMNS = "at principal principal_kind token_id address request_id action repository tag old new detail"
_INSERT = Prepared(insert(audit).values({column: bindparam(f"p_{column}") for column in _COLUMNS.split()}))


def record(
    connection: Connection,
    by: Actor,
    action: str,
    *,
    now: int,
    repository: str | None = None,
    tag: str | None = None,
    old: str | None = None,
    new: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """`old` and `new`: before and after, in words. Never a secret or its hash. If this fails, so does the
    change."""
    _INSERT.run(
        connection,
        {
            "p_at": now,
            "p_principal": by.name,
            "p_principal_kind": by.kind,
            "p_token_id": by.token_id,
            "p_address": by.address,
            "p_request_id": by.request_id,
            "p_action": action,
            "p_repository": repository,
            "p_tag": tag,
            "p_old": old,
            "p_new": new,
            "p_detail": msgspec.json.encode(detail).decode() if detail else None,
        },
    )
    if action not in _TOLD_WITH_MORE:
        row = {"repository": repository, "tag": tag, "old": old, "new": new, "detail": detail or None}
        _tell(connection, by, action, now, row)


def _tell(connection: Connection, by: Actor, action: str, now: int, row: Mapping[str, Any]) -> None:
    repository = row["repository"]
    audience: Audience = "registry"
    if repository is not None:
        audience = "repository" if action in _FOR_READERS else "project"
    payload = {
        "repository": repository,
        "by": by.name,
        "request": by.request_id,
        "address": by.address,
        "at": now,
        **{name: value for name, value in row.items() if value is not None and name != "repository"},
    }
    add_event(connection, action, payload, at=now, repository=repository, audience=audience)


def record_change(
    connection: Connection, change: Change, by: Actor, at: int, detail: Mapping[str, Any] | None = None
) -> None:
    """The row of a change of content."""
    record(
        connection,
        by,
        change.action,
        now=at,
        repository=change.repository,
        tag=change.tag,
        old=change.old,
        new=change.new,
        detail=detail,
    )
