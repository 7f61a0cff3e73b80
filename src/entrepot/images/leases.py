"""Leases: blobs that a running process counts on before `index.json` names them.

A lease is a file its process keeps flocked and appends digests to. Whoever collects garbage reads the
leases that are still locked; one that can be locked belongs to a process that is gone, and is removed.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from entrepot.files import locked, new_name, try_lock, write_all
from entrepot.oci.digest import Digest


class Lease:
    """Keeps the blobs added to it from being collected until it is closed or its process ends."""

    def __init__(self, directory: Path, store_lock: Path) -> None:
        self._store_lock = store_lock
        self._path = directory / new_name()
        self._mutex = threading.Lock()
        self._held: set[Digest] = set()
        # The shared lock keeps a collector from seeing the file before it is locked.
        with locked(store_lock, exclusive=False):
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try_lock(self._fd)

    def add(self, digests: Iterable[Digest]) -> None:
        """From here on, a blob found to be there stays there."""
        with self._mutex:
            new = [digest for digest in digests if digest not in self._held]
            if not new:
                return
            with locked(self._store_lock, exclusive=False):
                write_all(self._fd, "".join(f"{digest}\n" for digest in new).encode())
            self._held.update(new)

    def close(self) -> None:
        if self._fd < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def leased_digests(directory: Path) -> set[str]:
    """Digests that living processes count on. The caller holds the store's lock exclusively."""
    held: set[str] = set()
    for path in directory.iterdir():
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if try_lock(fd):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
            else:
                held.update(path.read_text().split())
        finally:
            os.close(fd)
    return held
