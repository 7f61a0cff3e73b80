"""Encrypted backups: every stored file is AES-256-GCM under a key file, and names tell nothing.

A file is a header (magic, 8 random bytes) and frames of at most 1 MiB, each sealed with a nonce of those
bytes and its number. The last frame is marked as such, so a file that was cut short never opens. The file's
name is bound into each frame, so frames of other files don't fit.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from entrepot.server.operations.errors import BackupInvalid

__all__ = ["BackupKey", "make_key_file"]

KEY_BYTES: Final = 32
FRAME_BYTES: Final = 1 << 20
_TAG_BYTES: Final = 16
_MAGIC: Final = b"entb1\n"
_RANDOM_BYTES: Final = 8


def make_key_file(path: Path) -> None:
    """A new key, readable by its owner only. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())


class BackupKey:
    """Seals and opens files of one backup place."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._names = hmac.new(key, b"names", hashlib.sha256).digest()

    @classmethod
    def load(cls, path: Path) -> BackupKey:
        """Raises BackupInvalid."""
        try:
            key = path.read_bytes()
        except OSError as error:
            raise BackupInvalid(f"the key file {path} can't be read: {error.strerror}") from error
        if len(key) != KEY_BYTES:
            raise BackupInvalid(f"{path} is no key file: it holds exactly {KEY_BYTES} random bytes")
        return cls(key)

    def hide(self, name: str) -> str:
        """A name that only the key's holder can tell."""
        return hmac.new(self._names, name.encode(), hashlib.sha256).hexdigest()

    def sealed_size(self, size: int) -> int:
        """Bytes that `size` bytes take when sealed."""
        frames = max(1, -(-size // FRAME_BYTES))
        return len(_MAGIC) + _RANDOM_BYTES + size + frames * _TAG_BYTES

    async def seal(self, name: str, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The bytes to keep under `name`."""
        prefix = secrets.token_bytes(_RANDOM_BYTES)
        yield _MAGIC + prefix
        waiting, number = bytearray(), 0
        async for piece in pieces:
            waiting += piece
            while len(waiting) > FRAME_BYTES:
                yield self._frame(prefix, number, bytes(waiting[:FRAME_BYTES]), name, last=False)
                del waiting[:FRAME_BYTES]
                number += 1
        yield self._frame(prefix, number, bytes(waiting), name, last=True)

    async def open(self, name: str, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """What was sealed under `name`. Raises BackupInvalid when it does not open, or lacks its end."""
        waiting, number, prefix = bytearray(), 0, b""
        head = len(_MAGIC) + _RANDOM_BYTES
        whole = FRAME_BYTES + _TAG_BYTES
        async for piece in pieces:
            waiting += piece
            if not prefix and len(waiting) >= head:
                if not waiting.startswith(_MAGIC):
                    raise BackupInvalid(f"{name} is not encrypted")
                prefix = bytes(waiting[len(_MAGIC) : head])
                del waiting[:head]
            while prefix and len(waiting) > whole:
                yield self._opened(prefix, number, bytes(waiting[:whole]), name, last=False)
                del waiting[:whole]
                number += 1
        yield self._opened(prefix, number, bytes(waiting), name, last=True)

    def _frame(self, prefix: bytes, number: int, data: bytes, name: str, *, last: bool) -> bytes:
        return self._aead.encrypt(prefix + number.to_bytes(4, "big"), data, _bound(name, last))

    def _opened(self, prefix: bytes, number: int, frame: bytes, name: str, *, last: bool) -> bytes:
        try:
            return self._aead.decrypt(prefix + number.to_bytes(4, "big"), frame, _bound(name, last))
        except (InvalidTag, ValueError):
            raise BackupInvalid(
                f"{name} can't be opened: it is damaged, cut short, or sealed with another key"
            ) from None


def _bound(name: str, last: bool) -> bytes:
    return (b"last " if last else b"more ") + name.encode()
