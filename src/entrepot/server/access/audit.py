"""The audit log's one writer: a row in the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, insert

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change
from entrepot.server.db.statements import Prepared
from entrepot.server.db.tables.journal import audit

__all__ = ["record", "record_change"]

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
