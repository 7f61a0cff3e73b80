"""Runs programs as a user who is not root, also when the interpreter lies where only root may look.

`python -m tests.support.plain_user USER COMMAND…`, started as root, goes into a mount namespace of its own in
which
every closed directory above the interpreter and the project is replaced by an open one that holds just those
two. With `--subordinate-ids` behind the user, /etc/subuid and /etc/subgid there give him 65,536 more ids,
from `FIRST_SUBORDINATE` on.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import stat
import sys
import tempfile
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)
FIRST_SUBORDINATE = 300_000
_FLAG = "--subordinate-ids"
_PROJECT = Path(__file__).resolve().parents[2]


def argv_as(user: str, argv: list[str], *, subordinate_ids: bool = False) -> list[str]:
    """The command line, as root types it, that runs `argv` as `user`."""
    flags = [_FLAG] if subordinate_ids else []
    return [sys.executable, str(Path(__file__).resolve()), user, *flags, *argv]


def _closed_ancestor(path: Path) -> Path | None:
    """The first directory on the way that others may not enter."""
    for parent in reversed(path.parents):
        if not parent.stat().st_mode & stat.S_IXOTH:
            return parent
    return None


def _mount(source: str, target: Path, kind: str | None, flags: int, options: str = "") -> None:
    arguments = (
        source.encode(),
        os.fsencode(target),
        kind.encode() if kind else None,
        flags,
        options.encode(),
    )
    if _libc.mount(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


def _open_the_way() -> None:
    needed = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), _PROJECT}
    closed: dict[Path, list[Path]] = {}
    for path in sorted(needed):
        ancestor = _closed_ancestor(path)
        if ancestor is not None:
            closed.setdefault(ancestor, []).append(path)
    if not closed:
        return
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", Path("/"), None, _MS_REC | _MS_PRIVATE)
    for ancestor, paths in closed.items():
        kept = []
        for path in paths:
            place = Path(tempfile.mkdtemp(prefix="kept-"))
            _mount(str(path), place, None, _MS_BIND | _MS_REC)
            kept.append((path, place))
        _mount("tmpfs", ancestor, "tmpfs", 0, "mode=755")
        for path, place in kept:
            path.mkdir(parents=True, exist_ok=True)
            _mount(str(place), path, None, _MS_BIND | _MS_REC)
            _libc.umount2(os.fsencode(place), 2)
            place.rmdir()


def _give_subordinate_ids(user: str) -> None:
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", Path("/"), None, _MS_REC | _MS_PRIVATE)
    with tempfile.NamedTemporaryFile("w", prefix="subids-") as ranges:
        ranges.write(f"{user}:{FIRST_SUBORDINATE}:65536\n")
        ranges.flush()
        os.fchmod(ranges.fileno(), 0o644)
        for name in ("/etc/subuid", "/etc/subgid"):
            _mount(ranges.name, Path(name), None, _MS_BIND)


def _open_tun() -> None:
    """/dev/net/tun for everybody, as udev makes it; a machine without udev may keep it to root."""
    path = Path("/dev/net/tun")
    if not path.exists() or path.stat().st_mode & 0o006 == 0o006:
        return
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", Path("/"), None, _MS_REC | _MS_PRIVATE)
    folder = Path(tempfile.mkdtemp(prefix="tun-", dir="/dev"))
    os.mknod(folder / "tun", stat.S_IFCHR, path.stat().st_rdev)
    (folder / "tun").chmod(0o666)
    _mount(str(folder / "tun"), path, None, _MS_BIND)
    (folder / "tun").unlink()
    folder.rmdir()


def main(user: str, argv: list[str]) -> None:
    """Become `user` and run the command."""
    entry = pwd.getpwnam(user)
    _open_the_way()
    _open_tun()
    if argv[0] == _FLAG:
        _give_subordinate_ids(user)
        argv = argv[1:]
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
