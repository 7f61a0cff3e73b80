"""Rows of `sign_in_attempt`: failures counted together by every process and node of the registry.

Committed, but not waited for on disk: a power cut forgets some failures, never a change. Times are the
catalog's steady time, which no setting of a clock moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    and_,
    bindparam,
    case,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.sign_in.backoff import FORGET_AFTER, TRUSTED_FOR, Failures, SignInRecord, pause_s
from entrepot.server.db import RetryTransaction
from entrepot.server.db.statements import is_unique_violation
from entrepot.server.db.tables.access import sign_in_attempt

__all__ = [
    "COLUMNS",
    "Reservation",
    "forget",
    "joined",
    "note_failure",
    "note_success",
    "read_record",
    "reserve",
    "sweep",
    "take_back",
]

_EVERYBODY: Final = ""
_EVERYWHERE: Final = ""
_pair = sign_in_attempt.alias("pair")
_address = sign_in_attempt.alias("address")
_user = sign_in_attempt.alias("anywhere")

COLUMNS: Final[tuple[Any, ...]] = (
    _pair.c.failures,
    _pair.c.failed_at,
    _address.c.failures,
    _address.c.failed_at,
    _user.c.failures,
    _user.c.failed_at,
    _pair.c.succeeded_at,
)
"""What `read_record` takes, for a query over `joined`."""


def joined(base: Any) -> Any:
    """`base` with the three rows of the parameters `name` and `address`, where they are."""
    name: Any = bindparam("name")
    address: Any = bindparam("address")
    for row, user, where in (
        (_pair, name, address),
        (_address, _EVERYBODY, address),
        (_user, name, _EVERYWHERE),
    ):
        base = base.outerjoin(row, _is(row, user, where))
    return base


def _is(row: Any, user: Any, address: Any) -> ColumnElement[bool]:
    return and_(row.c.user == user, row.c.address == address)


def read_record(columns: Sequence[Any]) -> SignInRecord:
    pair, pair_at, address, address_at, user, user_at, succeeded_at = columns
    return SignInRecord(
        Failures(pair or 0, pair_at or 0),
        Failures(address or 0, address_at or 0),
        Failures(user or 0, user_at or 0),
        succeeded_at,
    )


_ROW: Final = _is(sign_in_attempt, bindparam("p_user"), bindparam("p_address"))
_COUNT: Final = (
    update(sign_in_attempt)
    .where(_ROW)
    .values(
        failures=case(
            (sign_in_attempt.c.failed_at < bindparam("p_forgotten"), 1), else_=sign_in_attempt.c.failures + 1
        ),
        failed_at=bindparam("p_at"),
    )
)
_FIRST: Final = insert(sign_in_attempt).values(
    user=bindparam("p_user"), address=bindparam("p_address"), failures=1, failed_at=bindparam("p_at")
)
_LOCK: Final = (
    select(sign_in_attempt.c.failures, sign_in_attempt.c.failed_at, sign_in_attempt.c.succeeded_at)
    .where(_ROW)
    .with_for_update()
)
_TAKE_BACK: Final = (
    update(sign_in_attempt)
    .where(_ROW, sign_in_attempt.c.failures > 0)
    .values(
        failures=sign_in_attempt.c.failures - 1,
        # A failure since then has its own time.
        failed_at=case(
            (sign_in_attempt.c.failed_at == bindparam("p_at"), bindparam("p_before")),
            else_=sign_in_attempt.c.failed_at,
        ),
    )
)
_SUCCEED: Final = (
    update(sign_in_attempt).where(_ROW).values(failures=0, failed_at=None, succeeded_at=bindparam("p_at"))
)
_FIRST_SUCCESS: Final = insert(sign_in_attempt).values(
    user=bindparam("p_user"), address=bindparam("p_address"), failures=0, succeeded_at=bindparam("p_at")
)
_OLD: Final = or_(
    sign_in_attempt.c.failed_at.is_(None), sign_in_attempt.c.failed_at < bindparam("p_forgotten")
)
_SWEEP: Final = delete(sign_in_attempt).where(
    _OLD,
    or_(sign_in_attempt.c.succeeded_at.is_(None), sign_in_attempt.c.succeeded_at < bindparam("p_strange")),
)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A try that was counted as failed before its password is looked at; or one that has to wait."""

    record: SignInRecord
    """Before it."""
    at: int
    wait_s: float
    """0: it was counted and may go on."""


def reserve(connection: Connection, user: str | None, address: str, now: int) -> Reservation:
    """Count a try before it is made, so that however many come at once, no more are made than one after
    another; for who must wait nothing is counted. `succeeded` and `take_back` undo it.

    Without `user` for the address alone.
    """
    keys = _keys(user, address)
    # The rows are locked, always in this order, so that no two tries wait for each other.
    before = {key: connection.execute(_LOCK, {"p_user": key[0], "p_address": key[1]}).first() for key in keys}
    pair = before.get((user or _EVERYBODY, address)) if user else None
    record = SignInRecord(
        pair=_failures(pair),
        address=_failures(before[_EVERYBODY, address]),
        user=_failures(before.get((user or "", _EVERYWHERE))),
        succeeded_at=pair.succeeded_at if pair else None,
    )
    wait_s = pause_s(record, now)
    if wait_s <= 0:
        for (name, where), row in before.items():
            _count(connection, name, where, now, is_new=row is None)
    return Reservation(record, now, wait_s)


def take_back(connection: Connection, user: str | None, address: str, reserved: Reservation) -> None:
    """It was no failure: the counts are what they would be without it."""
    _take_back(connection, _keys(user, address), reserved)


def note_failure(connection: Connection, user: str | None, address: str, now: int) -> None:
    """Count one that was not reserved; without `user` for the address alone."""
    for name, where in _keys(user, address):
        _count(connection, name, where, now)


def note_success(
    connection: Connection, user: str, address: str, now: int, reserved: Reservation | None = None
) -> None:
    """Forget the pair's failures and know the address; the address keeps its count, or one own account would
    reset it."""
    if reserved is not None:
        _take_back(connection, [key for key in _keys(user, address) if key != (user, address)], reserved)
    row = {"p_user": user, "p_address": address, "p_at": now}
    if connection.execute(_SUCCEED, row).rowcount == 0:
        _insert(connection, _FIRST_SUCCESS, row)


def _keys(user: str | None, address: str) -> list[tuple[str, str]]:
    return [(_EVERYBODY, address), *([(user, address), (user, _EVERYWHERE)] if user else [])]


def _failures(row: Any) -> Failures:
    return Failures(row.failures or 0, row.failed_at or 0) if row is not None else Failures()


def _count(connection: Connection, user: str, address: str, now: int, *, is_new: bool = False) -> None:
    row = {"p_user": user, "p_address": address, "p_at": now, "p_forgotten": now - FORGET_AFTER}
    if is_new or connection.execute(_COUNT, row).rowcount == 0:
        _insert(connection, _FIRST, {"p_user": user, "p_address": address, "p_at": now})


def _take_back(connection: Connection, keys: list[tuple[str, str]], reserved: Reservation) -> None:
    for user, address in keys:
        if user == _EVERYBODY:
            last_at = reserved.record.address.last_at
        elif address == _EVERYWHERE:
            last_at = reserved.record.user.last_at
        else:
            last_at = reserved.record.pair.last_at
        row = {"p_user": user, "p_address": address, "p_at": reserved.at, "p_before": last_at or None}
        connection.execute(_TAKE_BACK, row)


def forget(connection: Connection, by: Actor, user: str, *, now: int) -> int:
    """An admin lets a user try again at once, from everywhere. Returns how many failures are forgotten."""
    counts = connection.execute(
        select(sign_in_attempt).where(sign_in_attempt.c.user == user, sign_in_attempt.c.failures > 0)
    ).all()
    addresses = [row.address for row in counts if row.address != _EVERYWHERE]
    connection.execute(
        update(sign_in_attempt).where(sign_in_attempt.c.user == user).values(failures=0, failed_at=None)
    )
    connection.execute(
        update(sign_in_attempt)
        .where(sign_in_attempt.c.user == _EVERYBODY, sign_in_attempt.c.address.in_(addresses))
        .values(failures=0, failed_at=None)
    )
    total = sum(int(row.failures) for row in counts if row.address != _EVERYWHERE)
    record(connection, by, "unlock-user", now=now, detail={"name": user, "failed": total})
    return total


def sweep(connection: Connection, now: int) -> None:
    """Remove what counts no more."""
    connection.execute(_SWEEP, {"p_forgotten": now - FORGET_AFTER, "p_strange": now - TRUSTED_FOR})


def _insert(connection: Connection, statement: Insert, row: dict[str, Any]) -> None:
    """If somebody else was quicker, the transaction runs again."""
    try:
        connection.execute(statement, row)
    except IntegrityError as error:
        if is_unique_violation(error):
            raise RetryTransaction from error
        raise
