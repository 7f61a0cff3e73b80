"""Who is this: from a name and password, or a secret of ours, to a Principal.

What is cached is that a password was right (or wrong), never whether somebody may do something: the
principal's epoch and password hash are read each time, and a change of either makes the cached answer
useless. Failed tries count for all processes together (`attempts`), and pauses hold before a password is
looked at.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, literal, select

from entrepot.errors import Unavailable
from entrepot.observability.logs import get_log
from entrepot.server.access.decision.errors import InvalidCredentials, InvalidName, TooManyAttempts
from entrepot.server.access.decision.model import Principal, PrincipalKind
from entrepot.server.access.decision.rights import RightsVersion, SecretRows
from entrepot.server.access.directory.accounts import Account
from entrepot.server.access.directory.names import parse_robot_name, parse_user_name
from entrepot.server.access.secrets.access_tokens import TOKEN_BY_ID, mark_used
from entrepot.server.access.secrets.passwords import PasswordPool
from entrepot.server.access.secrets.secret import looks_like_secret, parse_secret
from entrepot.server.access.sign_in import attempts
from entrepot.server.access.sign_in.backoff import SignInRecord, network_of, pause_s
from entrepot.server.access.sign_in.failed_sign_ins import FailedSignIns
from entrepot.server.access.sign_in.linking import provision
from entrepot.server.access.sign_in.source_table import LiveSources
from entrepot.server.access.sign_in.sources.base import PasswordSource
from entrepot.server.access.sign_in.workload import WorkloadVerifier, list_rules, looks_like_jwt
from entrepot.server.db import Catalog, HotQuery
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables.access import principal

__all__ = ["Authenticator", "parse_basic"]

log = get_log(__name__)

_WRONG: Final = "the user name or password is wrong"
_REMEMBER: Final = 300 * SECOND
_MAX_REMEMBERED: Final = 2048
_USED_EVERY: Final = 60 * SECOND

_PARALLEL_TRIES: Final = 5
"""Passwords of one user at one address that are checked at once."""
_MAX_WAITING_TRIES: Final = 64
_KNOWN_AGAIN: Final = 24 * 3600 * SECOND
"""So often it is written down that somebody signs in from an address."""
_HOW: Final = {"pat": "token", "rob": "robot", "ses": "session", "ref": "refresh", "set": "setup"}

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
_TOKEN: Final = HotQuery(TOKEN_BY_ID)


def parse_basic(encoded: str) -> tuple[str, str]:
    """Name and password of a Basic Authorization header. Raises InvalidCredentials."""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidCredentials("the Authorization header can't be read") from None
    name, colon, password = text.partition(":")
    if not colon or "\0" in text or len(text) > 16 * 1024:  # RFC 7617 section 2: no control characters
        raise InvalidCredentials("the Authorization header can't be read")
    return name, password


@dataclass(frozen=True, slots=True)
class _Row:
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
    row: _Row | None
    record: SignInRecord


class _Turns:
    """Lets a few through at once for each key, and not many more wait."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, str], tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def one(self, key: tuple[str, str]) -> AsyncIterator[None]:
        """Raises TooManyAttempts."""
        turns, here = self._turns.get(key, (asyncio.Semaphore(_PARALLEL_TRIES), 0))
        if here >= _MAX_WAITING_TRIES:
            raise TooManyAttempts("too many sign-ins at once", retry_after_s=5.0)
        self._turns[key] = turns, here + 1
        try:
            async with turns:
                yield
        finally:
            _, here = self._turns[key]
            if here == 1:
                del self._turns[key]
            else:
                self._turns[key] = turns, here - 1


class Authenticator:
    """One per process."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        sources: Callable[[], LiveSources],
        passwords: PasswordPool,
        threads: ThreadPoolExecutor,
        rights: RightsVersion,
    ) -> None:
        self._catalog = catalog
        self._sources = sources
        self._passwords = passwords
        self.failures = FailedSignIns(catalog)
        self._turns = _Turns()
        self._secrets = SecretRows(catalog, rights, _TOKEN)
        self._workloads = WorkloadVerifier(threads)
        self._remember_key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[int, str, int]] = OrderedDict()
        self._known_wrong: OrderedDict[bytes, tuple[int, str | None]] = OrderedDict()
        self._used_tokens: dict[str, tuple[int, str | None]] = {}
        self._used_principals: dict[int, int] = {}
        self._used_flushed_at = 0
        self._flushing: asyncio.Task[None] | None = None

    async def basic(self, name: str, password: str, *, address: str | None) -> Principal:
        """A name with a password, a personal access token, a robot's secret or a job's token.

        Raises InvalidCredentials (the same whatever was wrong), TooManyAttempts, Unavailable.
        """
        name = _possible(name)
        if looks_like_secret(password):
            return await self.secret(password, kinds=("pat", "rob"), name=name, address=address)
        if "+" in name and looks_like_jwt(password):
            return await self.workload(password, robot=name, address=address)
        return await self._password(name, password, address)

    async def secret(
        self, text: str, *, kinds: tuple[str, ...], address: str | None, name: str | None = None
    ) -> Principal:
        """One of our own secrets; with `name`, only when it belongs to that principal."""
        found, _detail = await self.secret_with_detail(text, kinds=kinds, address=address, name=name)
        return found

    async def secret_with_detail(
        self, text: str, *, kinds: tuple[str, ...], address: str | None, name: str | None = None
    ) -> tuple[Principal, str | None]:
        """With the JSON that was stored beside it."""
        parsed = parse_secret(text)
        rows = await self._secrets.get(parsed.public_id) if parsed else []
        now = self._catalog.clock.now()
        for (
            stored_hash,
            kind,
            expires_at,
            detail,
            pid,
            pkind,
            pname,
            epoch,
            enabled,
            p_expires_at,
            _source,
        ) in rows:
            if parsed is None or not parsed.matches(bytes(stored_hash)) or kind not in kinds:
                break
            if expires_at is not None and now >= expires_at:
                break
            if not enabled or (p_expires_at is not None and now >= p_expires_at):
                break
            if name is not None and name != pname:
                break
            self._note_use(parsed.public_id, pid, now, address)
            who = Principal(
                kind=PrincipalKind(pkind),
                name=pname,
                id=pid,
                epoch=epoch,
                token_id=parsed.public_id,
                credential=_HOW[kind],
            )
            return who, detail
        if kinds != ("ses",):  # those run out; nobody tries them
            owner = rows[0][6] if rows else name or ""
            self.failures.note(owner, address, _HOW[kinds[0]])
        raise InvalidCredentials(_WRONG)

    async def _password(self, name: str, password: str, address: str | None) -> Principal:
        key = self._remember_token(name, password)
        attempt = await self._begin(name, address, key)
        who = self._known(attempt, key)
        if who is None:
            async with self._turns.one((name, attempt.address)):
                # The same again: others' tries of this password, or their failures, count for this one.
                attempt = await self._begin(name, address, key)
                who = self._known(attempt, key) or await self._verify(attempt, password, key, address)
        now = self._catalog.clock.now()
        if who is None or (attempt.row is not None and not attempt.row.usable(now)):
            await self._failed(attempt, address)
            raise InvalidCredentials(_WRONG)
        await self._succeeded(attempt)
        self._note_use(None, who.id, now, address)
        return who

    async def _begin(self, name: str, address: str | None, key: bytes) -> _Try:
        """Raises TooManyAttempts; InvalidCredentials for a password that is known to be wrong."""
        network = network_of(address)
        rows = await self._catalog.hot(_TRY, name=name, address=network)
        columns = rows[0]
        row = None if columns[0] is None else _Row(*columns[:7])
        attempt = _Try(name, network, row, attempts.read_record(columns[7:]))
        if self._known_wrong.get(key) == _wrong_for(row):
            # A program with an old password is no guesser: it must not hold back its owner.
            self.failures.note(name, address, "password", source=self._asked(row))
            raise InvalidCredentials(_WRONG)
        wait_s = pause_s(attempt.record, self._catalog.clock.steady())
        if wait_s > 0:
            self.failures.note(name, address, "password", source=self._asked(row), held_back=True)
            raise TooManyAttempts("too many failed sign-ins", retry_after_s=max(1.0, wait_s))
        return attempt

    def _known(self, attempt: _Try, key: bytes) -> Principal | None:
        """Somebody whose password was found right a short while ago."""
        row, remembered = attempt.row, self._remembered.get(key)
        if row is None or remembered is None or self._catalog.clock.now() >= remembered[2]:
            return None
        proof: str | None = row.password_hash
        if row.is_elsewhere:
            source = self._sources().password_source(row.source)
            proof = None if source is None else _proof(source, attempt.name, row.epoch)
        if proof is None or remembered[:2] != (row.id, proof):
            return None
        return _principal(row, attempt.name)

    async def _verify(
        self, attempt: _Try, password: str, key: bytes, address: str | None
    ) -> Principal | None:
        row = attempt.row
        if row is None or row.is_elsewhere:
            sources = self._sources_for(attempt)
            who = await self._elsewhere(sources, attempt.name, password, key, address)
            if who is None:
                await self._passwords.verify(None, password)
                if not sources:
                    self._remember_wrong(key, row)
            return who
        if not await self._right(row, password, key):
            self._remember_wrong(key, row)
            return None
        return _principal(row, attempt.name)

    async def _failed(self, attempt: _Try, address: str | None) -> None:
        self.failures.note(attempt.name, address, "password", source=self._asked(attempt.row))
        try:
            await self._catalog.write(
                attempts.note_failure,
                attempt.name,
                attempt.address,
                self._catalog.clock.steady(),
                durable=False,
                brief=True,
            )
        except Unavailable as error:
            log.warning("failed sign-in not counted", error=error.message)

    def _asked(self, row: _Row | None) -> str:
        """The source a user is from; every one for a name that nobody here has."""
        if row is not None:
            return row.source
        return ",".join(["local", *(source.name for source in self._sources().passwords)])

    async def _succeeded(self, attempt: _Try) -> None:
        """Written down when there is something new to tell: not at every sign-in."""
        now, before = self._catalog.clock.steady(), attempt.record.succeeded_at
        if attempt.record.pair.count == 0 and before is not None and now - before < _KNOWN_AGAIN:
            return
        try:
            await self._catalog.write(
                attempts.note_success, attempt.name, attempt.address, now, durable=False, brief=True
            )
        except Unavailable as error:
            log.warning("sign-in not written down", error=error.message)

    async def _right(self, row: _Row, password: str, key: bytes) -> bool:
        proof = row.password_hash or ""
        verified = await self._passwords.verify(row.password_hash, password)
        if not verified.ok:
            return False
        if verified.new_hash is not None:
            proof = verified.new_hash
            await self._catalog.write(_store_hash, row.id, row.password_hash, proof, durable=False)
        self._remember(key, row.id, proof, self._catalog.clock.now())
        return True

    def _sources_for(self, attempt: _Try) -> tuple[PasswordSource, ...]:
        """In order; for a known user only the one it comes from."""
        sources = self._sources().passwords if attempt.name else ()
        if attempt.row is not None:
            sources = tuple(source for source in sources if source.name == attempt.row.source)
        return sources

    async def _elsewhere(
        self,
        sources: tuple[PasswordSource, ...],
        name: str,
        password: str,
        key: bytes,
        address: str | None,
    ) -> Principal | None:
        now = self._catalog.clock.now()
        for source in sources:
            try:
                person = await source.sign_in(name, password)
                if person is None:
                    continue
                account: Account = await self._catalog.write(provision, source.name, person, now, address)
            except (Unavailable, InvalidName, InvalidCredentials) as error:
                log.warning("sign-in failed", source=source.name, error=error.message)
                continue
            if not account.enabled:
                return None
            proof = _proof(source, name, account.epoch)
            if proof is not None:
                self._remember(key, account.id, proof, now)
            return _user(account.name, account.id, account.epoch)
        return None

    async def workload(self, token: str, *, address: str | None, robot: str | None = None) -> Principal:
        """A CI job's token, for a robot; without a name, for the robot whose rule it fits.

        Raises InvalidCredentials, TooManyAttempts, Unavailable.
        """
        # A token can't be guessed: what is held back is an address that asks for too much work.
        network = network_of(address)
        tried = robot or ""
        record = attempts.read_record((await self._catalog.hot(_TRY, name="", address=network))[0][7:])
        wait_s = pause_s(record, self._catalog.clock.steady())
        if wait_s > 0:
            self.failures.note(tried, address, "exchange", held_back=True)
            raise TooManyAttempts("too many failed sign-ins", retry_after_s=max(1.0, wait_s))
        rules = await self._catalog.read(_rules_of, robot)
        try:
            robot = (await self._workloads.verify(token, rules)).robot
        except InvalidCredentials:
            self.failures.note(tried, address, "exchange")
            await self._catalog.write(
                attempts.note_failure, None, network, self._catalog.clock.steady(), durable=False, brief=True
            )
            raise
        rows = await self._catalog.hot(_BY_NAME, name=robot)
        row = _Row(*rows[0]) if rows else None
        now = self._catalog.clock.now()
        if row is None or not row.usable(now):
            self.failures.note(robot, address, "exchange")
            raise InvalidCredentials(_WRONG)
        self._note_use(None, row.id, now, address)
        return Principal(
            kind=PrincipalKind.ROBOT, name=robot, id=row.id, epoch=row.epoch, credential="exchange"
        )

    def _remember_token(self, name: str, password: str) -> bytes:
        return hashlib.blake2b(f"{name}\0{password}".encode(), key=self._remember_key).digest()

    def _remember(self, key: bytes, principal_id: int, proof: str, now: int) -> None:
        self._remembered[key] = (principal_id, proof, now + _REMEMBER)
        self._remembered.move_to_end(key)
        while len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    def _remember_wrong(self, key: bytes, row: _Row | None) -> None:
        self._known_wrong[key] = _wrong_for(row)
        while len(self._known_wrong) > _MAX_REMEMBERED:
            self._known_wrong.popitem(last=False)

    def _note_use(self, token_id: str | None, principal_id: int, now: int, address: str | None) -> None:
        if token_id is not None:
            self._used_tokens[token_id] = (now, address)
        self._used_principals[principal_id] = now
        if now - self._used_flushed_at >= _USED_EVERY and self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush_used(now))

    async def _flush_used(self, now: int) -> None:
        """At most once a minute, and not waited for on disk."""
        tokens, self._used_tokens = self._used_tokens, {}
        principals, self._used_principals = self._used_principals, {}
        try:
            await self._catalog.write(mark_used, tokens, principals, durable=False)
        except Unavailable as error:
            log.warning("last-used times lost", error=error.message)
        finally:
            self._used_flushed_at = now
            self._flushing = None

    async def close(self) -> None:
        if self._flushing is not None:
            await self._flushing
        if self._used_tokens or self._used_principals:
            await self._flush_used(self._catalog.clock.now())
        await self.failures.close()


def _possible(name: str) -> str:
    """The name as it is stored; empty when nobody can have it."""
    try:
        if "+" in name:
            project, short = parse_robot_name(name)
            return f"{project or ''}+{short}"
        return parse_user_name(name)
    except InvalidName:
        return ""


def _wrong_for(row: _Row | None) -> tuple[int, str | None]:
    """What a password that was found wrong is wrong for; the same shape for a name that is nobody's."""
    return (0, None) if row is None else (row.id, row.password_hash)


def _principal(row: Any, name: str) -> Principal:
    """Whose password was right."""
    kind = PrincipalKind(row.kind)
    return Principal(kind=kind, name=name, id=row.id, epoch=row.epoch, credential="password")


def _proof(source: PasswordSource, name: str, epoch: int) -> str | None:
    vouched = source.vouches_for(name)
    return None if vouched is None else f"{source.name}@{epoch}@{vouched}"


def _user(name: str, principal_id: int, epoch: int) -> Principal:
    return Principal(kind=PrincipalKind.USER, name=name, id=principal_id, epoch=epoch, credential="password")


def _store_hash(connection: Any, principal_id: int, old: str | None, new: str) -> None:
    connection.execute(
        principal.update()
        .where(principal.c.id == principal_id, principal.c.password_hash == old)
        .values(password_hash=new)
    )


def _rules_of(connection: Any, robot: str | None) -> Any:
    return list_rules(connection, robot=robot)
