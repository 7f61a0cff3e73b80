"""Sealing what must be read back (signing keys, client secrets): AES-256-GCM under a key that is a file.

The key never enters the catalog: a stolen database or backup of it shows none of these secrets. Machines that
share a catalog share the file.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from entrepot.errors import InvalidInput, VerificationFailed

__all__ = ["LOST", "SealBroken", "SealKey"]

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
LOST: Final = "if no machine has it any more: entrepot admin token rotate-key --key-file-lost"


class SealBroken(VerificationFailed):
    """Not sealed with this key."""

    code: ClassVar[str] = "seal-broken"


class SealKey:
    """One key; `context` binds what is sealed to its place, so that rows can't be swapped."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    @classmethod
    def load_or_create(cls, path: Path) -> SealKey:
        """Read `path`, or make it (mode 0600). Two processes that start at once end up with the same key."""
        if not path.exists():
            fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise InvalidInput(
                f"{path} is not a key file", hint=f"it holds exactly {_KEY_BYTES} random bytes"
            )
        return cls(key)

    def seal(self, plain: bytes, *, context: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Raises SealBroken."""
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            raise SealBroken(
                f"the sealed {context} can't be opened",
                hint="give this machine the key file that the catalog was made with (access.secret_file, or "
                f"access.key in the data directory; all nodes have the same); {LOST}",
            ) from None
