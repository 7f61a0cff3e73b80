"""Audit rows of account changes, written in the transaction of the change itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import Connection, insert

from entrepot.server.db.tables.journal import audit

__all__ = ["SYSTEM", "ActorLike", "By", "record"]


class ActorLike(Protocol):
    """Who does it, as `repos.Actor` is."""

    @property
    def principal(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def address(self) -> str | None: ...
    @property
    def token_id(self) -> str | None: ...
    @property
    def request_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class By:
    """An actor of our own making."""

    principal: str
    kind: str
    address: str | None = None
    token_id: str | None = None
    request_id: str | None = None


SYSTEM: Final = By(principal="entrepot", kind="system")
"""The server itself, at first start and for key rotation."""

_INSERT: Final = insert(audit)


def record(
    connection: Connection,
    by: ActorLike,
    action: str,
    *,
    now: int,
    repository: str | None = None,
    tag: str | None = None,
    old: str | None = None,
    new: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """`old` and `new`: before and after, in words. Never a secret or its hash."""
    connection.execute(
        _INSERT,
        {
            "at": now,
            "principal": by.principal,
            "principal_kind": by.kind,
            "token_id": by.token_id,
            "address": by.address,
            "request_id": by.request_id,
            "action": action,
            "repository": repository,
            "tag": tag,
            "old": old,
            "new": new,
            "detail": json.dumps(detail, separators=(",", ":")) if detail else None,
        },
    )
