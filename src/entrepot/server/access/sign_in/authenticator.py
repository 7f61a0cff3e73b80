"""Who is this: from a name and password, a secret of ours or a job's token, to a Principal.

Passwords are `password_sign_in`'s. Who signed in through a source that knows them is asked about there again
when what signing in made (a session, a refresh token) is used.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import Any, Final

from entrepot.errors import Unavailable
from entrepot.observability.logs import get_log
from entrepot.server.access.decision.errors import InvalidCredentials, TooManyAttempts
from entrepot.server.access.decision.model import Principal, PrincipalKind
from entrepot.server.access.decision.rights import RightsVersion, SecretRows
from entrepot.server.access.secrets.access_tokens import TOKEN_BY_ID, entry_of, mark_used
from entrepot.server.access.secrets.passwords import PasswordPool
from entrepot.server.access.secrets.secret import looks_like_secret, parse_secret
from entrepot.server.access.sign_in import attempts
from entrepot.server.access.sign_in.backoff import network_of, pause_s
from entrepot.server.access.sign_in.failed_sign_ins import FailedSignIns
from entrepot.server.access.sign_in.password_sign_in import (
    WRONG,
    PasswordSignIn,
    address_record,
    possible_name,
    principal_named,
)
from entrepot.server.access.sign_in.source_table import LiveSources
from entrepot.server.access.sign_in.sources.outbound import Outbound
from entrepot.server.access.sign_in.workload import WorkloadVerifier, list_rules, looks_like_jwt
from entrepot.server.db import Catalog, HotQuery
from entrepot.server.db.clock import SECOND

__all__ = ["Authenticator", "parse_basic"]

log = get_log(__name__)

_USED_EVERY: Final = 60 * SECOND

_HOW: Final = {"pat": "token", "rob": "robot", "ses": "session", "ref": "refresh", "set": "setup"}

_MADE_BY_SIGNING_IN: Final = ("ses", "ref")
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


class Authenticator:
    """One per process."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        sources: Callable[[], LiveSources],
        passwords: PasswordPool,
        outbound: Outbound,
        rights: RightsVersion,
    ) -> None:
        self._catalog = catalog
        self._sources = sources
        self.failures = FailedSignIns(catalog)
        self._passwords = PasswordSignIn(
            catalog, sources=sources, passwords=passwords, failures=self.failures
        )
        self._secrets = SecretRows(catalog, rights, _TOKEN)
        self._workloads = WorkloadVerifier(outbound)
        self._used_tokens: dict[str, tuple[int, str | None]] = {}
        self._used_principals: dict[int, int] = {}
        self._used_flushed_at = 0
        self._flushing: asyncio.Task[None] | None = None

    async def basic(self, name: str, password: str, *, address: str | None) -> Principal:
        """A name with a password, a personal access token, a robot's secret or a job's token.

        Raises InvalidCredentials (the same whatever was wrong), TooManyAttempts, Unavailable.
        """
        name = possible_name(name)
        if looks_like_secret(password):
            return await self.secret(password, kinds=("pat", "rob"), name=name, address=address)
        if "+" in name and looks_like_jwt(password):
            return await self.workload(password, robot=name, address=address)
        who = await self._passwords.sign_in(name, password, address)
        self._note_use(None, who.id, self._catalog.clock.now(), address)
        return who

    async def secret(
        self, text: str, *, kinds: tuple[str, ...], address: str | None, name: str | None = None
    ) -> Principal:
        """One of our own secrets; with `name`, only when it belongs to that principal."""
        found, _detail = await self.secret_with_detail(text, kinds=kinds, address=address, name=name)
        return found

    async def secret_with_detail(
        self, text: str, *, kinds: tuple[str, ...], address: str | None, name: str | None = None
    ) -> tuple[Principal, str | None]:
        """With the JSON that was stored beside it. Raises InvalidCredentials."""
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
            source,
        ) in rows:
            if parsed is None or not parsed.matches(bytes(stored_hash)) or kind not in kinds:
                break
            if expires_at is not None and now >= expires_at:
                break
            if not enabled or (p_expires_at is not None and now >= p_expires_at):
                break
            if name is not None and name != pname:
                break
            entry = entry_of(detail) if kind in _MADE_BY_SIGNING_IN else ""
            if not await self._goes_on(source, pname, entry):
                break
            self._note_use(parsed.public_id, pid, now, address)
            who = Principal(
                kind=PrincipalKind(pkind),
                name=pname,
                id=pid,
                epoch=epoch,
                token_id=parsed.public_id,
                credential=_HOW[kind],
                entry=entry,
            )
            return who, detail
        if kinds != ("ses",):  # those run out; nobody tries them
            owner = rows[0][6] if rows else name or ""
            self.failures.note(owner, address, _HOW[kinds[0]])
        raise InvalidCredentials(WRONG)

    async def _goes_on(self, source_name: str, name: str, entry: str) -> bool:
        """Whether a user's source still has them, as they were when they signed in."""
        source = self._sources().password_source(source_name)
        if source is None:
            return True
        if not entry:
            return source.vouches_for(name) is not None
        try:
            return await source.goes_on(name, entry)
        except Unavailable as error:
            # Pulls go on while a directory is away, as they did before somebody was removed from it.
            log.warning("source not asked about a user", source=source_name, error=error.message)
            return True

    async def workload(self, token: str, *, address: str | None, robot: str | None = None) -> Principal:
        """A CI job's token, for a robot; without a name, for the robot whose rule it fits.

        Raises InvalidCredentials, TooManyAttempts, Unavailable.
        """
        robot = possible_name(robot) if robot else None
        # A token can't be guessed: what is held back is an address that asks for too much work.
        network = network_of(address)
        tried = robot or ""
        record = await address_record(self._catalog, address)
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
        row = await principal_named(self._catalog, robot)
        now = self._catalog.clock.now()
        if row is None or not row.usable(now):
            self.failures.note(robot, address, "exchange")
            raise InvalidCredentials(WRONG)
        self._note_use(None, row.id, now, address)
        return Principal(
            kind=PrincipalKind.ROBOT, name=robot, id=row.id, epoch=row.epoch, credential="exchange"
        )

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


def _rules_of(connection: Any, robot: str | None) -> Any:
    return list_rules(connection, robot=robot)
