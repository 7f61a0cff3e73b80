"""An htpasswd file as a sign-in source: bcrypt lines, read again whenever the file changes.

Every try costs the same, whoever it is for: as much as the file's most expensive hash. bcrypt's work is
2^cost, so a check at a lower cost c is followed by ones at c, c+1 … up to the highest.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import bcrypt

from entrepot.errors import InvalidInput
from entrepot.observability.logs import get_log
from entrepot.server.access.sign_in.sources.base import Person, entry_mark, holds

__all__ = ["HtpasswdFile", "RunHash", "parse_htpasswd", "require_readable"]

log = get_log(__name__)
_BCRYPT: Final = re.compile(rb"\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")
"""Cost 15 takes seconds; one of 31 would take a day, of everybody's sign-in."""
_USUAL_COST: Final = 10
# The password was random and is not kept; the cost is put in.
_DUMMY: Final = b"$2b$%02d$ID.zjS.inexfhYbek4raPuKhikg9KylqLMIeiXKqP5VttUu8FI5f2"
_SETTLED_NS: Final = 50_000_000
"""A file may change twice within one tick of its clock: one that has just changed is read again."""


class RunHash(Protocol):
    """Runs a hash in the threads for hashes."""

    def __call__(self, function: Callable[..., bool], *args: Any) -> Awaitable[bool]: ...


def parse_htpasswd(text: str) -> tuple[dict[str, bytes], list[str]]:
    """Users with their hashes; names whose line is not bcrypt (made with `htpasswd -B`) of cost 4 to 15."""
    users: dict[str, bytes] = {}
    refused: list[str] = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, digest = line.partition(":")
        if colon and name and _BCRYPT.fullmatch(digest.encode()):
            users[name.lower()] = digest.encode()
        else:
            refused.append(name)
    return users, refused


def require_readable(path: Path) -> None:
    """Raises InvalidInput for what nobody could sign in with: not there, no file, closed to this process."""
    try:
        if not path.is_file():
            raise InvalidInput(
                f"there is no file {path}",
                hint=f"make it first, with a line for each user: htpasswd -cB {path} NAME",
            )
        path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{path} can't be read: {(error.strerror or str(error)).lower()}",
            hint="let the user that runs the registry read it",
        ) from error
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{path} is no htpasswd file", hint="make one with: htpasswd -cB FILE NAME"
        ) from None


class HtpasswdFile:
    """PasswordSource. Whose line is changed or taken out is refused from the next request on.

    A line that is put back as it was, hash and all, brings back what was signed in with it.
    """

    def __init__(self, name: str, path: Path, run: RunHash) -> None:
        self.name = name
        self._path = path
        self._run = run
        self._stamp: tuple[int, ...] | None = None
        self._users: Mapping[str, bytes] = {}
        self._cost = _USUAL_COST

    async def sign_in(self, name: str, password: str) -> Person | None:
        digest = self._current().get(name)
        # bcrypt reads 72 bytes; longer passwords are an error in its newer releases.
        ok = await self._run(_matches, password.encode(errors="replace")[:72], digest, self._cost)
        if not ok or digest is None:
            return None
        return Person(subject=name, name=name, entry=self._mark(digest))

    async def pretend(self) -> None:
        self._current()
        await self._run(_matches, b"", None, self._cost)

    def vouches_for(self, name: str) -> str | None:
        digest = self._current().get(name)
        return None if digest is None else self._mark(digest)

    async def goes_on(self, name: str, entry: str) -> bool:
        return holds(self.vouches_for(name), entry)

    def _mark(self, digest: bytes) -> str:
        return entry_mark(self.name, digest.decode())

    def _current(self) -> Mapping[str, bytes]:
        """As of the file's last change; a look at its status each time, and no more."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._users, refused = parse_htpasswd(self._path.read_text(encoding="utf-8"))
                self._cost = max(map(_cost_of, self._users.values()), default=_USUAL_COST)
                settled = abs(time.time_ns() - status.st_mtime_ns) > _SETTLED_NS
                self._stamp = stamp if settled else ()
                if refused and settled:
                    log.warning("htpasswd lines without a bcrypt hash of cost 4 to 15", count=len(refused))
        except (OSError, UnicodeDecodeError) as error:
            if self._stamp is not None:
                log.warning("htpasswd file unreadable", path=str(self._path), error=str(error))
            self._stamp, self._users, self._cost = None, {}, _USUAL_COST
        return self._users


def _cost_of(digest: bytes) -> int:
    return int(digest[4:6])


def _matches(password: bytes, digest: bytes | None, cost: int) -> bool:
    """2^cost rounds of work, whatever the cost of `digest`, also when there is none."""
    if digest is None:
        _check(password, _DUMMY % cost)
        return False
    ok = _check(password, digest)
    for step in range(_cost_of(digest), cost):
        _check(password, _DUMMY % step)
    return ok


def _check(password: bytes, digest: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, digest)
    except ValueError:  # a NUL in the password
        return False
