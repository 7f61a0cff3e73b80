"""The feed's one writer: an event beside the change it tells of, in its transaction.

It is there exactly if the change is. Its number comes after the commit, from `server.events.sequencer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import BigInteger, Connection, bindparam, insert, select

from entrepot.server.db.statements import Prepared
from entrepot.server.db.tables.journal import event
from entrepot.server.db.tables.projects import project

__all__ = ["Audience", "add_event"]

Audience = Literal["repository", "project", "registry"]
"""Who may read it: whoever sees the repository, those who may read the project's audit log, or the
registry's."""

# `project_id` by a look-up in place of a parameter: not every writer knows it, and it costs a microsecond.
_INSERT: Final = Prepared(
    insert(event).values(
        {
            **{
                column: bindparam(f"p_{column}")
                for column in ("kind", "kinds", "audience", "repository", "payload")
            },
            "at": bindparam("p_at", type_=BigInteger),
            "project_id": select(project.c.id)
            .where(project.c.name == bindparam("p_project"), project.c.deleted_at.is_(None))
            .scalar_subquery(),
        }
    )
)


def add_event(
    connection: Connection,
    kind: str,
    payload: Mapping[str, Any],
    *,
    at: int,
    repository: str | None = None,
    also: tuple[str, ...] = (),
    audience: Audience = "repository",
) -> None:
    """`also`: what else it is, for those who ask by kind; `repository`: its name, or a project's.

    Do it before the project is deleted: later on nobody knows which one was meant.
    """
    _INSERT.run(
        connection,
        {
            "p_kind": kind,
            "p_kinds": f" {' '.join((kind, *also))} ",
            "p_audience": audience,
            "p_project": None if repository is None else repository.partition("/")[0],
            "p_repository": repository,
            "p_payload": msgspec.json.encode(payload).decode(),
            "p_at": at,
        },
    )
