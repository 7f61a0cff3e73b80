"""Passwords: argon2id in a small pool of threads, so that guessing cannot take the machine.

OWASP's parameters (19 MiB, two passes, one lane); they are part of each hash, so raising them later
rehashes people as they sign in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from entrepot.server.access.decision.errors import InvalidPassword, TooManyAttempts

T = TypeVar("T")

__all__ = ["MIN_PASSWORD_LENGTH", "PasswordPool", "PasswordVerified", "check_new_password", "hash_password"]

MIN_PASSWORD_LENGTH: Final = 10
"""Characters. Length is what matters; there are no rules about which characters."""
MAX_PASSWORD_BYTES: Final = 1024
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# A hash of random bytes that nobody has kept: computing one would delay every start.
_DUMMY: Final = (
    "$argon2id$v=19$m=19456,t=2,p=1$0OKReq7vn5UJsedv0pvtmQ$OeYj3CUbwLHn2Hghi9y7AVhRK88/TUoMzqPyCjylQuQ"
)
_COMMON: Final = frozenset(
    {
        "password12", "password123", "passw0rd123", "1234567890", "0123456789", "12345678910",
        "qwertyuiop", "qwerty12345", "qwerty123456", "iloveyou123", "administrator", "changeme123",
        "letmein123", "welcome123", "harbor12345", "admin12345", "1q2w3e4r5t", "1qaz2wsx3edc",
        "zaq12wsxcde", "abcdefghij", "1111111111", "0000000000", "superadmin", "docker12345",
        "registry123",
    }
)  # fmt: skip


def check_new_password(password: str, *, name: str) -> None:
    """Raises InvalidPassword with what to change."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise InvalidPassword(f"the password is too short; use at least {MIN_PASSWORD_LENGTH} characters")
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise InvalidPassword(f"the password is longer than {MAX_PASSWORD_BYTES} bytes")
    if password.lower() in _COMMON or password.lower() == name.lower():
        raise InvalidPassword("the password is one of the first that are guessed; choose another")


def hash_password(password: str) -> str:
    """About 30 ms of work."""
    return _HASHER.hash(password)


@dataclass(frozen=True, slots=True)
class PasswordVerified:
    """`new_hash` is set when the stored one used older parameters; store it."""

    ok: bool
    new_hash: str | None = None


class PasswordPool:
    """Verifies off the event loop, `workers` at a time, with at most `max_waiting` in line."""

    def __init__(self, *, workers: int = 2, max_waiting: int = 64) -> None:
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="argon2")
        self._waiting = 0
        self._max_waiting = max_waiting

    async def verify(self, stored_hash: str | None, password: str) -> PasswordVerified:
        """None as the hash (no such user) costs the same as a wrong password.

        Raises TooManyAttempts when the line is full.
        """
        return await self.run(verify_password, stored_hash, password)

    async def hash(self, password: str) -> str:
        return await self.run(hash_password, password)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """`function(*args)`, which computes a hash, in turn. Raises TooManyAttempts when the line is full."""
        if self._waiting >= self._max_waiting:
            raise TooManyAttempts("too many sign-ins at once", retry_after_s=5.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def verify_password(stored_hash: str | None, password: str) -> PasswordVerified:
    """Blocking; constant work whether or not the user exists."""
    candidate = password if len(password.encode()) <= MAX_PASSWORD_BYTES else ""
    try:
        _HASHER.verify(stored_hash or _DUMMY, candidate)
    except (VerificationError, InvalidHashError):
        return PasswordVerified(ok=False)
    if stored_hash is None:
        return PasswordVerified(ok=False)
    return PasswordVerified(
        ok=True, new_hash=_HASHER.hash(password) if _HASHER.check_needs_rehash(stored_hash) else None
    )
