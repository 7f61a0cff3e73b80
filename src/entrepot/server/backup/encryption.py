"""Encrypted backups: every stored file is AES-256-GCM under a key file, and names tell nothing.

A file is a header (magic, 32 random bytes) and frames of at most 1 MiB. Each file is sealed with a key of its
own, made from the key file and those random bytes, and each frame with its number as the nonce, so no nonce
is ever used twice. The last frame is marked as such, so a file that was cut short never opens. The file's
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

from entrepot.server.backup.errors import BackupInvalid

__all__ = ["BackupKey", "make_key_file"]

KEY_BYTES: Final = 32
FRAME_BYTES: Final = 1 << 20
_TAG_BYTES: Final = 16
_MAGIC: Final = b"entb1\n"
_SALT_BYTES: Final = 32
_HEAD_BYTES: Final = len(_MAGIC) + _SALT_BYTES


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
        self._files = _derived(key, b"files")
        self._names = _derived(key, b"names")
        self.fingerprint = _derived(key, b"fingerprint").hex()
        """Tells keys apart and nothing about them."""

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
        return _derived(self._names, name.encode()).hex()

    def sealed_size(self, size: int) -> int:
        """Bytes that `size` bytes take when sealed."""
        frames = max(1, -(-size // FRAME_BYTES))
        return _HEAD_BYTES + size + frames * _TAG_BYTES

    async def seal(self, name: str, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The bytes to keep under `name`."""
        salt = secrets.token_bytes(_SALT_BYTES)
        aead = self._aead(salt)
        yield _MAGIC + salt
        waiting, number = bytearray(), 0
        async for piece in pieces:
            waiting += piece
            while len(waiting) > FRAME_BYTES:
                bound = _bound(name, last=False)
                yield aead.encrypt(_nonce(number), bytes(waiting[:FRAME_BYTES]), bound)
                del waiting[:FRAME_BYTES]
                number += 1
        yield aead.encrypt(_nonce(number), bytes(waiting), _bound(name, last=True))

    async def open(self, name: str, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """What was sealed under `name`. Raises BackupInvalid when it does not open, or lacks its end."""
        waiting, number, aead = bytearray(), 0, None
        whole = FRAME_BYTES + _TAG_BYTES
        async for piece in pieces:
            waiting += piece
            if aead is None and len(waiting) >= _HEAD_BYTES:
                if not waiting.startswith(_MAGIC):
                    raise BackupInvalid(f"{name} is not encrypted")
                aead = self._aead(bytes(waiting[len(_MAGIC) : _HEAD_BYTES]))
                del waiting[:_HEAD_BYTES]
            while aead is not None and len(waiting) > whole:
                yield _opened(aead, number, bytes(waiting[:whole]), name, last=False)
                del waiting[:whole]
                number += 1
        if aead is None:
            raise BackupInvalid(f"{name} is cut short")
        yield _opened(aead, number, bytes(waiting), name, last=True)

    def _aead(self, salt: bytes) -> AESGCM:
        return AESGCM(_derived(self._files, salt))


def _opened(aead: AESGCM, number: int, frame: bytes, name: str, *, last: bool) -> bytes:
    try:
        return aead.decrypt(_nonce(number), frame, _bound(name, last=last))
    except (InvalidTag, ValueError):
        raise BackupInvalid(
            f"{name} can't be opened: it is damaged, cut short, or sealed with another key"
        ) from None


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, purpose, hashlib.sha256).digest()


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _bound(name: str, *, last: bool) -> bytes:
    return (b"last " if last else b"more ") + name.encode()
