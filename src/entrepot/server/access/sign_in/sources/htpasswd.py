"""An htpasswd file as a sign-in source: bcrypt lines, read again whenever the file changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

import bcrypt

from entrepot.observability.logs import get_log
from entrepot.server.access.sign_in.sources.base import Person

__all__ = ["HtpasswdFile", "parse_htpasswd"]

log = get_log(__name__)
_BCRYPT: Final = (b"$2y$", b"$2b$", b"$2a$")
# bcrypt's work for a user who does not exist; the password was random and is not kept.
_DUMMY: Final = b"$2b$10$ID.zjS.inexfhYbek4raPuKhikg9KylqLMIeiXKqP5VttUu8FI5f2"


def parse_htpasswd(text: str) -> tuple[dict[str, bytes], list[str]]:
    """Users with their hashes, and names whose line is not bcrypt (made with `htpasswd -B`)."""
    users: dict[str, bytes] = {}
    refused: list[str] = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, digest = line.partition(":")
        if colon and name and digest.encode().startswith(_BCRYPT):
            users[name.lower()] = digest.encode()
        else:
            refused.append(name)
    return users, refused


class HtpasswdFile:
    """PasswordSource. A user taken out of the file is refused from the next request on."""

    def __init__(self, name: str, path: Path, threads: Executor) -> None:
        self.name = name
        self._path = path
        self._threads = threads
        self._stamp: tuple[int, int, int] | None = None
        self._users: Mapping[str, bytes] = {}

    async def sign_in(self, name: str, password: str) -> Person | None:
        users = self._current()
        digest = users.get(name, _DUMMY)
        loop = asyncio.get_running_loop()
        # bcrypt reads 72 bytes; longer passwords are an error in its newer releases.
        ok = await loop.run_in_executor(self._threads, _matches, password.encode()[:72], digest)
        return Person(subject=name, name=name) if ok and name in users else None

    def vouches_for(self, name: str) -> str | None:
        digest = self._current().get(name)
        return None if digest is None else digest.decode()

    def _current(self) -> Mapping[str, bytes]:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._users, refused = parse_htpasswd(self._path.read_text(encoding="utf-8"))
                self._stamp = stamp
                if refused:
                    log.warning("htpasswd lines without a bcrypt hash", count=len(refused))
        except (OSError, UnicodeDecodeError) as error:
            if self._stamp is not None:
                log.warning("htpasswd file unreadable", path=str(self._path), error=str(error))
            self._stamp, self._users = None, {}
        return self._users


def _matches(password: bytes, digest: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, digest)
    except ValueError:
        return False
