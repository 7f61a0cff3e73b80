"""A name and a password, from wherever the name is known: the same work and the same waits for every name.

1. A password that was found right, or wrong, a short while ago is not looked at again.
2. Tries of one name and password from one address that come together are one try.
3. A try is counted as failed before it is made (`attempts.reserve`), over all processes and nodes.
4. One hash is computed, against the stored one or a dummy, and each source is asked one question, about this
   name or about nobody. So neither how long it takes nor who is asked to wait tells who exists.
5. A right password takes the count back.

What is cached is that a password was right (or wrong), never whether somebody may do something: the
principal's epoch and password hash, and the mark of their entry at a source, are read each time.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, literal, select

from entrepot.errors import Unavailable
from entrepot.observability.logs import get_log
from entrepot.server.access.decision.errors import (
    InvalidCredentials,
    InvalidName,
    NotKnownNow,
    TooManyAttempts,
)
from entrepot.server.access.decision.model import Principal, PrincipalKind
from entrepot.server.access.directory.accounts import Account
from entrepot.server.access.directory.names import parse_robot_name, parse_user_name
from entrepot.server.access.secrets.passwords import PasswordPool
from entrepot.server.access.sign_in import attempts
from entrepot.server.access.sign_in.attempts import Reservation
from entrepot.server.access.sign_in.backoff import Failures, SignInRecord, counted, network_of, pause_s
from entrepot.server.access.sign_in.failed_sign_ins import FailedSignIns
from entrepot.server.access.sign_in.linking import provision
from entrepot.server.access.sign_in.source_table import LiveSources
from entrepot.server.access.sign_in.sources.base import PasswordSource, holds
from entrepot.server.db import Catalog, HotQuery
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables.access import principal

__all__ = [
    "WRONG",
    "PasswordSignIn",
    "PrincipalRow",
    "address_record",
    "possible_name",
    "principal_named",
]

log = get_log(__name__)

WRONG: Final = "the user name or password is wrong"
_NOBODY: Final = "?"
"""In place of a name that nobody can have; nobody can have this one either."""
_REMEMBER: Final = 300 * SECOND
_REMEMBER_WRONG: Final = 30 * SECOND
"""A directory does not tell when a password that was wrong becomes right."""
_MAX_REMEMBERED: Final = 2048
_MAX_WAITING: Final = 64
"""Tries of one name at one address that are under way at once in one process."""
_KNOWN_AGAIN: Final = 24 * 3600 * SECOND
"""So often it is written down that somebody signs in from an address."""
_SHORT_WAIT_S: Final = 2.5
"""The first two waits are waited for here: often they are only for right passwords still being checked."""
_LONGEST_WAIT_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.1

_PRINCIPAL: Final = (
    principal.c.id,
    principal.c.kind,
    principal.c.epoch,
    principal.c.enabled,
    principal.c.expires_at,
    principal.c.source,
    principal.c.password_hash,
)
_BY_NAME: Final = HotQuery(select(*_PRINCIPAL).where(principal.c.name == bindparam("name")))
_one = select(literal(1).label("one")).subquery("one")
_TRY: Final = HotQuery(
    select(*_PRINCIPAL, *attempts.COLUMNS).select_from(
        attempts.joined(_one.outerjoin(principal, principal.c.name == bindparam("name")))
    )
)


@dataclass(frozen=True, slots=True)
class PrincipalRow:
    id: int
    kind: str
    epoch: int
    enabled: bool
    expires_at: int | None
    source: str
    password_hash: str | None

    @property
    def is_elsewhere(self) -> bool:
        """Its password, if any, is another source's."""
        return self.source != "local" or self.password_hash is None

    def usable(self, now: int) -> bool:
        return bool(self.enabled) and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class _Try:
    """Somebody wants to sign in: what is known before their password is looked at."""

    name: str
    address: str
    """As failures are counted by it."""
    key: bytes
    """Of name and password."""
    row: PrincipalRow | None
    record: SignInRecord


@dataclass(frozen=True, slots=True)
class _Right:
    """A password that was right."""

    principal_id: int
    proof: str
    """The stored hash, or the source and the epoch."""
    entry: str
    until: int


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A password that was wrong, and was counted."""

    what_for: tuple[Any, ...]
    """What is known of the name: another password may be right when that changes."""
    until: int


class _Patience:
    """Of one try, for short waits: it has an end."""

    def __init__(self) -> None:
        self._left_s = _LONGEST_WAIT_S

    async def wait(self, wait_s: float) -> None:
        """A moment of `wait_s`. Raises TooManyAttempts for who has to come again."""
        if wait_s > _SHORT_WAIT_S or self._left_s <= 0:
            raise TooManyAttempts("too many failed sign-ins", retry_after_s=max(1.0, wait_s))
        moment_s = min(wait_s, _LOOK_EVERY_S)
        self._left_s -= moment_s
        await asyncio.sleep(moment_s)


def possible_name(name: str) -> str:
    """The name as it is stored; one that nobody has when nobody can have it."""
    try:
        if "+" in name:
            project, short = parse_robot_name(name)
            return f"{project or ''}+{short}"
        return parse_user_name(name)
    except InvalidName:
        return _NOBODY


async def principal_named(catalog: Catalog, name: str) -> PrincipalRow | None:
    rows = await catalog.hot(_BY_NAME, name=name)
    return PrincipalRow(*rows[0]) if rows else None


async def address_record(catalog: Catalog, address: str | None) -> SignInRecord:
    """What is known of an address alone."""
    rows = await catalog.hot(_TRY, name=_NOBODY, address=network_of(address))
    return SignInRecord(address=attempts.read_record(rows[0][7:]).address)


class PasswordSignIn:
    """One per process."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        sources: Callable[[], LiveSources],
        passwords: PasswordPool,
        failures: FailedSignIns,
    ) -> None:
        self._catalog = catalog
        self._sources = sources
        self._passwords = passwords
        self._failures = failures
        self._secret = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, _Right] = OrderedDict()
        self._wrong: OrderedDict[bytes, _Wrong] = OrderedDict()
        self._waiting: dict[tuple[str, str], int] = {}
        self._here: OrderedDict[tuple[str, str], Failures] = OrderedDict()
        """Failures that could not be written."""
        self._checks: dict[tuple[bytes, str], asyncio.Task[Principal | None]] = {}

    async def sign_in(self, name: str, password: str, address: str | None) -> Principal:
        """`name` as `possible_name` has it.

        Raises InvalidCredentials (the same whatever was wrong), TooManyAttempts, NotKnownNow.
        """
        network, key = network_of(address), self._key(name, password)
        row = None
        try:
            with self._place((name, network)):
                attempt = await self._admitted(name, network, key, _Patience())
                row = attempt.row
                who = self._remembered(attempt)
                if who is not None:
                    await self._succeeded(attempt)
                else:
                    who = await self._one_check(attempt, password, address)
            if who is None:
                raise InvalidCredentials(WRONG)
        except TooManyAttempts:
            self._failures.note(name, address, "password", source=self._asked(row), held_back=True)
            raise
        except (InvalidCredentials, NotKnownNow):
            self._failures.note(name, address, "password", source=self._asked(row))
            raise
        return who

    @contextmanager
    def _place(self, key: tuple[str, str]) -> Iterator[None]:
        """Raises TooManyAttempts."""
        here = self._waiting.get(key, 0)
        if here >= _MAX_WAITING:
            raise TooManyAttempts("too many sign-ins at once", retry_after_s=5.0)
        self._waiting[key] = here + 1
        try:
            yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    async def _look(self, name: str, network: str, key: bytes) -> _Try:
        """Raises InvalidCredentials for a password that is known to be wrong."""
        columns = (await self._catalog.hot(_TRY, name=name, address=network))[0]
        row = None if columns[0] is None else PrincipalRow(*columns[:7])
        wrong = self._wrong.get(key)
        if wrong is not None and wrong.what_for == self._what_for(name, row):
            if self._catalog.clock.now() < wrong.until:
                # A program with an old password is no guesser: it must not hold back its owner.
                raise InvalidCredentials(WRONG)
        elif wrong is not None:
            del self._wrong[key]
        return _Try(name, network, key, row, attempts.read_record(columns[7:]))

    async def _admitted(self, name: str, network: str, key: bytes, patience: _Patience) -> _Try:
        """Raises TooManyAttempts, InvalidCredentials."""
        while True:
            attempt = await self._look(name, network, key)
            wait_s = pause_s(attempt.record, self._catalog.clock.steady())
            if wait_s <= 0:
                return attempt
            await patience.wait(wait_s)

    def _remembered(self, attempt: _Try) -> Principal | None:
        """Somebody whose password was found right a short while ago."""
        row, right, now = attempt.row, self._right.get(attempt.key), self._catalog.clock.now()
        if row is None or right is None or now >= right.until or not row.usable(now):
            return None
        proof: str | None = row.password_hash
        if row.is_elsewhere:
            source = self._sources().password_source(row.source)
            if source is None or not holds(source.vouches_for(attempt.name), right.entry):
                return None
            proof = _proof(source, row.epoch)
        if (right.principal_id, right.proof) != (row.id, proof):
            return None
        return _principal(row, attempt.name, right.entry)

    async def _one_check(self, attempt: _Try, password: str, address: str | None) -> Principal | None:
        """Shared by all who try the same at the same time. It goes on when they go away: it was counted."""
        flight = attempt.key, attempt.address
        check = self._checks.get(flight)
        if check is None:
            check = asyncio.get_running_loop().create_task(self._check(attempt, password, address))
            self._checks[flight] = check
            check.add_done_callback(lambda done: self._checked(flight, done))
        return await asyncio.shield(check)

    def _checked(self, flight: tuple[bytes, str], check: asyncio.Task[Principal | None]) -> None:
        del self._checks[flight]
        if not check.cancelled():
            check.exception()  # perhaps nobody waits any more

    async def _check(self, attempt: _Try, password: str, address: str | None) -> Principal | None:
        """Raises TooManyAttempts, NotKnownNow."""
        patience = _Patience()
        while True:
            reserved = await self._reserve(attempt)
            if reserved.wait_s <= 0:
                break
            await patience.wait(reserved.wait_s)
            attempt = await self._admitted(attempt.name, attempt.address, attempt.key, patience)
        try:
            who = await self._verify(attempt, password, address)
        except TooManyAttempts:
            await self._settle(attempts.take_back, attempt, reserved)
            raise
        except NotKnownNow:
            if attempt.key in self._wrong:
                await self._settle(attempts.take_back, attempt, reserved)
            self._note_wrong(attempt, until=0)
            raise
        if who is not None:
            self._wrong.pop(attempt.key, None)
            await self._succeeded(attempt, reserved)
        else:
            if attempt.key in self._wrong:  # counted before
                await self._settle(attempts.take_back, attempt, reserved)
            self._note_wrong(attempt, until=self._catalog.clock.now() + _REMEMBER_WRONG)
        return who

    async def _verify(self, attempt: _Try, password: str, address: str | None) -> Principal | None:
        """Step 4. Raises TooManyAttempts, NotKnownNow."""
        row, now = attempt.row, self._catalog.clock.now()
        stored = None if row is None or row.is_elsewhere else row.password_hash
        verified = await self._passwords.verify(stored, password)
        if verified.ok and row is not None and stored is not None:
            proof = verified.new_hash or stored
            if verified.new_hash is not None:
                await self._catalog.write(_store_hash, row.id, stored, proof, durable=False)
            self._note_right(attempt.key, _Right(row.id, proof, "", now + _REMEMBER))
            return _principal(row, attempt.name, "") if row.usable(now) else None
        silent = False
        for source in self._sources().passwords:
            try:
                if not self._is_asked(source, attempt):
                    await source.pretend()
                    continue
                who = await self._from_source(source, attempt, password, address)
            except Unavailable as error:
                log.warning("sign-in failed", source=source.name, error=error.message)
                silent = True
                continue
            if who is not None:
                return who
        if silent:
            raise NotKnownNow
        return None

    def _is_asked(self, source: PasswordSource, attempt: _Try) -> bool:
        """Whether a name may be this source's: a known user's password is for the one they are from."""
        if attempt.row is not None:
            return attempt.row.source == source.name
        return attempt.name != _NOBODY and "+" not in attempt.name

    async def _from_source(
        self, source: PasswordSource, attempt: _Try, password: str, address: str | None
    ) -> Principal | None:
        person = await source.sign_in(attempt.name, password)
        if person is None:
            return None
        now = self._catalog.clock.now()
        try:
            account: Account = await self._catalog.write(provision, source.name, person, now, address)
        except (InvalidName, InvalidCredentials) as error:
            log.warning("sign-in failed", source=source.name, error=error.message)
            return None
        right = _Right(account.id, _proof(source, account.epoch), person.entry, now + _REMEMBER)
        self._note_right(attempt.key, right)
        if not account.enabled or (account.expires_at is not None and now >= account.expires_at):
            return None
        return Principal(
            kind=PrincipalKind.USER,
            name=account.name,
            id=account.id,
            epoch=account.epoch,
            credential="password",
            entry=person.entry,
        )

    async def _reserve(self, attempt: _Try) -> Reservation:
        """Counted in this process alone while nothing can be written."""
        try:
            return await self._catalog.write(
                attempts.reserve,
                attempt.name,
                attempt.address,
                self._catalog.clock.steady(),
                durable=False,
                brief=True,
            )
        except Unavailable as error:
            log.warning("sign-in counted here alone", error=error.message)
            return self._reserve_here(attempt)

    def _reserve_here(self, attempt: _Try) -> Reservation:
        pair, now = (attempt.name, attempt.address), self._catalog.clock.steady()
        record = SignInRecord(pair=self._here.get(pair, Failures()))
        wait_s = pause_s(record, now)
        if wait_s <= 0:
            self._here[pair] = Failures(counted(record.pair, now), now)
            self._here.move_to_end(pair)
            while len(self._here) > _MAX_REMEMBERED:
                self._here.popitem(last=False)
        return Reservation(record, now, wait_s)

    async def _settle(self, how: Callable[..., None], attempt: _Try, reserved: Reservation) -> None:
        try:
            await self._catalog.write(how, attempt.name, attempt.address, reserved, durable=False, brief=True)
        except Unavailable:
            self._here[attempt.name, attempt.address] = reserved.record.pair

    async def _succeeded(self, attempt: _Try, reserved: Reservation | None = None) -> None:
        """Written down when there is something new to tell: not at every sign-in."""
        self._here.pop((attempt.name, attempt.address), None)
        now, before = self._catalog.clock.steady(), attempt.record.succeeded_at
        is_known = attempt.record.pair.count == 0 and before is not None and now - before < _KNOWN_AGAIN
        if reserved is None and is_known:
            return
        try:
            await self._catalog.write(
                attempts.note_success,
                attempt.name,
                attempt.address,
                now,
                reserved,
                durable=False,
                brief=True,
            )
        except Unavailable as error:
            log.warning("sign-in not written down", error=error.message)

    def _asked(self, row: PrincipalRow | None) -> str:
        """The source a user is from; every one for a name that nobody here has."""
        if row is not None:
            return row.source
        return ",".join(["local", *(source.name for source in self._sources().passwords)])

    def _what_for(self, name: str, row: PrincipalRow | None) -> tuple[Any, ...]:
        vouched = tuple(source.vouches_for(name) for source in self._sources().passwords)
        return (None if row is None else (row.id, row.epoch, row.password_hash), vouched)

    def _key(self, name: str, password: str) -> bytes:
        text = f"{name}\0{password}".encode(errors="surrogatepass")
        return hashlib.blake2b(text, key=self._secret).digest()

    def _note_right(self, key: bytes, right: _Right) -> None:
        self._right[key] = right
        self._right.move_to_end(key)
        while len(self._right) > _MAX_REMEMBERED:
            self._right.popitem(last=False)

    def _note_wrong(self, attempt: _Try, *, until: int) -> None:
        self._wrong[attempt.key] = _Wrong(self._what_for(attempt.name, attempt.row), until)
        self._wrong.move_to_end(attempt.key)
        while len(self._wrong) > _MAX_REMEMBERED:
            self._wrong.popitem(last=False)


def _principal(row: PrincipalRow, name: str, entry: str) -> Principal:
    """Whose password was right."""
    return Principal(
        kind=PrincipalKind(row.kind),
        name=name,
        id=row.id,
        epoch=row.epoch,
        credential="password",
        entry=entry,
    )


def _proof(source: PasswordSource, epoch: int) -> str:
    return f"{source.name}@{epoch}"


def _store_hash(connection: Any, principal_id: int, old: str, new: str) -> None:
    connection.execute(
        principal.update()
        .where(principal.c.id == principal_id, principal.c.password_hash == old)
        .values(password_hash=new)
    )
