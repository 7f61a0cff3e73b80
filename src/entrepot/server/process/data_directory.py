"""The folder a registry keeps everything in: made private, and held by one server at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

from entrepot.errors import Conflict, Unavailable

LOCK_PATIENCE_S: Final = 15.0
"""How long a start waits for the processes of the one before to be gone."""


class StartFailed(Unavailable):
    """A process of the server ended before it was ready; its own message is on stderr."""

    code: ClassVar[str] = "start-failed"


class AlreadyServing(Conflict):
    """Another server uses the data directory."""

    code: ClassVar[str] = "already-serving"


def make_data_directory(data: Path) -> None:
    """Make it, for its owner only. Raises StartFailed."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if data.stat().st_uid == os.geteuid() and data.stat().st_mode & 0o077:
            data.chmod(0o700)
    except OSError as error:
        raise StartFailed(
            f"the data directory {data} cannot be used: {(error.strerror or str(error)).lower()}",
            hint="name another with --data DIR",
        ) from error


@contextlib.contextmanager
def left_to_its_owner(data: Path) -> Iterator[None]:
    """What root makes in `data` until the block ends, however it does, is given to the owner of the folder.

    Else a server that runs as that account could not write what `restore` brought. Files of a third account
    stay its own, and nothing changes in a folder of root's.
    """
    try:
        yield
    finally:
        if os.geteuid() == 0 and (owner := data.stat()).st_uid != 0:
            _give(data, owner)


def _give(folder: Path, owner: os.stat_result) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_uid == 0:
                with contextlib.suppress(
                    PermissionError, FileNotFoundError
                ):  # a root that may not, as on NFS
                    os.chown(entry.path, owner.st_uid, owner.st_gid, follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                _give(Path(entry.path), owner)


def hold_data_directory(data: Path) -> int:
    """A lock that lives as long as any process of this server; returns its descriptor. Raises
    AlreadyServing."""
    path = data / "serve.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            alive = owner.isdigit() and Path(f"/proc/{owner}").exists()
            if alive or time.monotonic() > deadline:
                os.close(descriptor)
                raise AlreadyServing(
                    f"another entrepot serve (process {owner or 'unknown'}) uses the data in {data}",
                    hint="stop it, or name another directory with --data DIR",
                ) from None
            time.sleep(0.1)
            continue
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor
