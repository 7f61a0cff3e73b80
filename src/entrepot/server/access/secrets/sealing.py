"""Sealing what must be read back (signing keys, client secrets): AES-256-GCM under a key that is a file.

The key never enters the catalog: a stolen database or backup of it shows none of these secrets. Machines that
share a catalog share the file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from entrepot.errors import InvalidInput, VerificationFailed

__all__ = ["LOST", "SealBroken", "SealKey", "key_file_exists"]

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
        """Read `path`, or make it (mode 0600). Two processes that start at once end up with the same key.

        Raises InvalidInput.
        """
        if not key_file_exists(path):
            _make_key_file(path)
        try:
            key = path.read_bytes()
        except OSError as error:
            raise _unusable(path, error) from error
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


def key_file_exists(path: Path) -> bool:
    """Raises InvalidInput when this account may not look."""
    try:
        return path.exists()
    except OSError as error:
        raise _unusable(path, error) from error


def _make_key_file(path: Path) -> None:
    """One that is whole and on the disk before anything is sealed with it; another process's is left."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _give_to_owner_of(path.parent, file.fileno())
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
        finally:
            fresh.unlink()
        _fsync_directory(path.parent)
    except OSError as error:
        raise _unusable(path, error) from error


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    """What root makes is for the server, which runs as whoever the folder belongs to."""
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    with contextlib.suppress(PermissionError):  # a root that may not: in a container, or on another's NFS
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: OSError) -> InvalidInput:
    hint = "access.secret_file names it, and its folder has to be there"
    if isinstance(error, PermissionError):
        hint = f"give it, and its folder, to the account that runs the server: chown USER {path}"
    return InvalidInput(
        f"the key file {path} can't be used: {(error.strerror or str(error)).lower()}", hint=hint
    )
