"""Who is this: from a name and password, or a secret of ours, to a Principal.

What is cached is that a password was right, never whether somebody may do something: the principal's epoch
and password hash are read each time, and a change of either makes the cached answer useless.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select

from entrepot.errors import Unavailable
from entrepot.observability.logs import get_log
from entrepot.server.access.access_tokens import TOKEN_BY_ID, mark_used
from entrepot.server.access.accounts import Account
from entrepot.server.access.backoff import SignInBackoff
from entrepot.server.access.errors import InvalidCredentials, InvalidName
from entrepot.server.access.model import Principal, PrincipalKind
from entrepot.server.access.passwords import PasswordPool
from entrepot.server.access.people import provision
from entrepot.server.access.secret import looks_like_secret, parse_secret
from entrepot.server.access.source_table import LiveSources
from entrepot.server.access.sources.base import PasswordSource
from entrepot.server.access.workload import WorkloadVerifier, list_rules, looks_like_jwt
from entrepot.server.db import Catalog, HotQuery
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables.access import principal

__all__ = ["Authenticator", "parse_basic"]

log = get_log(__name__)

_WRONG: Final = "the user name or password is wrong"
_REMEMBER: Final = 300 * SECOND
_MAX_REMEMBERED: Final = 2048
_USED_EVERY: Final = 60 * SECOND

_BY_NAME: Final = HotQuery(
    select(
        principal.c.id,
        principal.c.kind,
        principal.c.epoch,
        principal.c.enabled,
        principal.c.expires_at,
        principal.c.source,
        principal.c.password_hash,
    ).where(principal.c.name == bindparam("name"))
)
_TOKEN: Final = HotQuery(TOKEN_BY_ID)


def parse_basic(encoded: str) -> tuple[str, str]:
    """Name and password of a Basic Authorization header. Raises InvalidCredentials."""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidCredentials("the Authorization header can't be read") from None
    name, colon, password = text.partition(":")
    if not colon or len(text) > 16 * 1024:
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

    def usable(self, now: int) -> bool:
        return bool(self.enabled) and (self.expires_at is None or now < self.expires_at)


class Authenticator:
    """One per process."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        sources: Callable[[], LiveSources],
        passwords: PasswordPool,
        backoff: SignInBackoff,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._catalog = catalog
        self._sources = sources
        self._passwords = passwords
        self._backoff = backoff
        self._workloads = WorkloadVerifier(threads)
        self._remember_key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[int, str, int]] = OrderedDict()
        self._used_tokens: dict[str, tuple[int, str | None]] = {}
        self._used_principals: dict[int, int] = {}
        self._used_flushed_at = 0
        self._flushing: asyncio.Task[None] | None = None

    async def basic(self, name: str, password: str, *, address: str | None) -> Principal:
        """A name with a password, a personal access token, a robot's secret or a job's token.

        Raises InvalidCredentials (the same whatever was wrong), TooManyAttempts, Unavailable.
        """
        name = name.strip().lower()
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
        rows = await self._catalog.hot(_TOKEN, token_id=parsed.public_id) if parsed else []
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
            credential = {"pat": "token", "rob": "robot", "ses": "session", "ref": "refresh", "set": "setup"}[
                kind
            ]
            who = Principal(
                kind=PrincipalKind(pkind),
                name=pname,
                id=pid,
                epoch=epoch,
                token_id=parsed.public_id,
                credential=credential,
            )
            return who, detail
        raise InvalidCredentials(_WRONG)

    async def _password(self, name: str, password: str, address: str | None) -> Principal:
        self._backoff.check(name, address)
        rows = await self._catalog.hot(_BY_NAME, name=name)
        row = _Row(*rows[0]) if rows else None
        now = self._catalog.clock.now()
        who = None
        if row is None or (row.source == "local" and row.password_hash is None) or row.source != "local":
            who = await self._elsewhere(name, password, row, address)
            if who is None:
                await self._passwords.verify(None, password)
        elif await self._right(name, password, row, now):
            who = Principal(
                kind=PrincipalKind(row.kind), name=name, id=row.id, epoch=row.epoch, credential="password"
            )
        if who is None or (row is not None and not row.usable(now)):
            self._backoff.failed(name, address)
            raise InvalidCredentials(_WRONG)
        self._backoff.succeeded(name, address)
        self._note_use(None, who.id, now, address)
        return who

    async def _right(self, name: str, password: str, row: _Row, now: int) -> bool:
        key = self._remember_token(name, password)
        proof = row.password_hash or ""
        remembered = self._remembered.get(key)
        if remembered is not None and remembered[:2] == (row.id, proof) and now < remembered[2]:
            return True
        verified = await self._passwords.verify(row.password_hash, password)
        if verified.ok:
            if verified.new_hash is not None:
                proof = verified.new_hash
                await self._catalog.write(_store_hash, row.id, row.password_hash, proof, durable=False)
            self._remember(key, row.id, proof, now)
        return verified.ok

    async def _elsewhere(
        self, name: str, password: str, row: _Row | None, address: str | None
    ) -> Principal | None:
        """Ask the sources in order; for a known user only the one it comes from."""
        now = self._catalog.clock.now()
        sources = self._sources().passwords
        key = self._remember_token(name, password)
        if row is not None:
            sources = tuple(source for source in sources if source.name == row.source)
            proof = _proof(sources[0], name, row.epoch) if sources else None
            remembered = self._remembered.get(key)
            if remembered is not None and remembered[:2] == (row.id, proof) and now < remembered[2]:
                return _user(name, row.id, row.epoch)
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
        self._backoff.check(robot or "", address)
        rules = await self._catalog.read(_rules_of, robot)
        try:
            robot = (await self._workloads.verify(token, rules)).robot
        except InvalidCredentials:
            self._backoff.failed(robot or "", address)
            raise
        rows = await self._catalog.hot(_BY_NAME, name=robot)
        row = _Row(*rows[0]) if rows else None
        now = self._catalog.clock.now()
        if row is None or not row.usable(now):
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
