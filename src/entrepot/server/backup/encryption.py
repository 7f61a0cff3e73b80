"""Encrypted backups: stored files are age files (https://age-encryption.org/v1), and names tell nothing.

`age -d -i KEYFILE` opens each one without us; the key file is what `age-keygen` writes. The library streams
(measured: 2 GiB at 1 GiB/s, 14 MiB of memory), but reads and writes by calls, so it works in a thread of
its own that gets one piece at a time. Sealed sizes differ by some bytes from one time to the next: its
header holds a part of random length, so that no reader comes to rely on headers of one shape.

age says nothing about who wrote a file, and a file opens under any name. Blobs are known by their digests;
what else has to be the right file is named by its digest in the snapshot (`archive`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

import pyrage
from pyrage.x25519 import Identity

from entrepot.server.backup.errors import BackupInvalid

__all__ = ["BackupKey", "make_key_file", "sealed_body"]

CHUNK_BYTES: Final = 1 << 16
"""age seals so much at once."""
_TAG_BYTES: Final = 16
_HEAD: Final = re.compile(rb".*?\n--- [A-Za-z0-9+/]{43}\n.{16}", re.DOTALL)
"""A header up to its MAC, and the nonce of what follows."""
_HEAD_AT_MOST: Final = 1 << 10
"""Seen: 235 to 360 bytes."""


def make_key_file(path: Path) -> None:
    """A new key, readable by its owner only. Raises FileExistsError."""
    identity = Identity.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"# public key: {identity.to_public()}\n{identity}\n")
        file.flush()
        os.fsync(file.fileno())


def sealed_body(size: int) -> int:
    """Bytes that `size` bytes take after the header."""
    return size + max(1, -(-size // CHUNK_BYTES)) * _TAG_BYTES


class BackupKey:
    """Seals and opens files of one backup place."""

    def __init__(self, identity: Identity) -> None:
        key = str(identity).encode()
        self._identity = identity
        self._names = _derived(key, b"names")
        self.fingerprint = _derived(key, b"fingerprint").hex()
        """Tells keys apart and nothing about them."""

    @classmethod
    def load(cls, path: Path) -> BackupKey:
        """Raises BackupInvalid."""
        try:
            lines = path.read_text("ascii").splitlines()
        except OSError as error:
            raise BackupInvalid(f"the key file {path} can't be read: {error.strerror}") from error
        except UnicodeDecodeError:
            lines = []
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        try:
            (key,) = keys
            return cls(Identity.from_str(key))
        except (ValueError, pyrage.IdentityError):
            raise BackupInvalid(
                f"{path} is no key file",
                hint="give one that --new-key or age-keygen made, with one key in it",
            ) from None

    def hide(self, name: str) -> str:
        """A name that only the key's holder can tell."""
        return _derived(self._names, name.encode()).hex()

    def may_be_sealed(self, kept: int, size: int) -> bool:
        """Whether a file of `kept` bytes can be `size` bytes sealed: to within the header's length."""
        return 0 < kept - sealed_body(size) <= _HEAD_AT_MOST

    async def seal(self, pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
        """The bytes to keep. The first piece is the header with its nonce and nothing else."""
        recipients = [self._identity.to_public()]
        sealed = _through(lambda pipe: pyrage.encrypt_io(pipe, pipe, recipients), pieces)
        async with aclosing(sealed):
            begun = b""
            while (found := _HEAD.match(begun)) is None:
                begun += await anext(sealed)
            yield found[0]
            yield begun[found.end() :]
            async for piece in sealed:
                yield piece

    async def open(self, name: str, pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
        """What was sealed. Raises BackupInvalid, naming `name`, when it does not open or lacks its end."""
        identities = [self._identity]
        opened = _through(lambda pipe: pyrage.decrypt_io(pipe, pipe, identities), pieces)
        async with aclosing(opened):
            try:
                async for piece in opened:
                    yield piece
            except _AgeFailed:
                raise BackupInvalid(
                    f"{name} can't be opened: it is damaged, cut short, or sealed with another key"
                ) from None


class _AgeFailed(Exception):
    """The library gave up, and says why."""


async def _through(
    work: Callable[[Any], object], pieces: AsyncIterable[bytes]
) -> AsyncGenerator[bytes, None]:
    """What `work` makes of the pieces. Raises _AgeFailed, and what reading the pieces raises."""
    pipe = _Pipe(work)
    try:
        async for piece in pieces:
            if piece and (made := pipe.feed(piece)):
                yield made
        if made := pipe.feed(b""):
            yield made
    finally:
        pipe.close()


class _Pipe:
    """Reader and writer of a library that works on files, fed and emptied one piece at a time.

    The library runs in a thread, in step with who feeds it: one of the two always waits, so there is never
    more in memory than one piece and what became of it.
    """

    def __init__(self, work: Callable[[Any], object]) -> None:
        self._fed: SimpleQueue[bytes | None] = SimpleQueue()
        self._made: SimpleQueue[bytes | Exception] = SimpleQueue()
        self._reading: memoryview | None = None
        self._ended = False
        self._written = bytearray()
        self._thread = Thread(target=self._run, args=(work,), name="age", daemon=True)
        self._thread.start()

    def feed(self, piece: bytes) -> bytes:
        """What comes out for this piece; an empty one is the last. Raises _AgeFailed; feed no more then."""
        self._fed.put(piece)
        made = self._made.get()
        if isinstance(made, Exception):
            raise _AgeFailed(str(made)) from made
        return made

    def close(self) -> None:
        """End the thread, wherever it is."""
        self._fed.put(None)
        self._thread.join()

    def read(self, size: int) -> bytes:
        """For the library."""
        if self._reading is None:
            self._reading = self._next()
        elif not self._reading and not self._ended:
            self._hand_over()
            self._reading = self._next()
        taken, self._reading = self._reading[:size], self._reading[size:]
        return bytes(taken)

    def write(self, data: bytes) -> int:
        """For the library."""
        self._written += data
        return len(data)

    def flush(self) -> None:
        """For the library."""

    def _next(self) -> memoryview:
        piece = self._fed.get()
        if piece is None:
            raise EOFError("nobody wants the rest")
        self._ended = not piece
        return memoryview(piece)

    def _hand_over(self) -> None:
        made, self._written = self._written, bytearray()
        self._made.put(bytes(made))

    def _run(self, work: Callable[[Any], object]) -> None:
        try:
            work(self)
        except Exception as error:  # noqa: BLE001 - pyrage raises several kinds; who feeds waits for any of them
            self._made.put(error)
        else:
            self._hand_over()


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, purpose, hashlib.sha256).digest()
