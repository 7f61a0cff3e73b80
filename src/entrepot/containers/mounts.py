"""mount(2) and umount(2), and overlay mounts with more layers than a path list holds."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from entrepot.images.snapshots import remove_path

MS_RDONLY = 1
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
CLONE_FS = 0x200

_libc = ctypes.CDLL(None, use_errno=True)
_PAGE = 4096


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError."""
    result = _libc.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode(errors="surrogateescape") or None,
    )
    _check(result, target)


def unmount(target: Path | str, *, lazy: bool = True) -> bool:
    """umount2(2), without following a link; whether something was mounted there. Raises OSError."""
    umount_nofollow = 8
    flags = umount_nofollow | (MNT_DETACH if lazy else 0)
    if _libc.umount2(os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOENT):
        return False
    raise OSError(code, os.strerror(code), str(target))


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """setns(2) for the calling thread."""
    _check(_libc.setns(fd, kind), "setns")


def set_subreaper() -> None:
    """Orphaned descendants become this process's children, so that their exit codes can be had."""
    pr_set_child_subreaper = 36
    _check(_libc.prctl(pr_set_child_subreaper, 1, 0, 0, 0), "prctl")


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def mount_overlay(
    lower: Sequence[Path],
    upper: Path,
    work: Path,
    target: Path,
    *,
    user_xattr: bool,
    flags: int = 0,
    volatile: bool = False,
) -> None:
    """Mount layers (topmost first) with a writable directory on top.

    Unmounting waits until the whole disk that `upper` is on has been written, whosever data that is. With
    `volatile` or MS_RDONLY it does not; nor does fsync within a volatile mount.

    The kernel reads at most a page of options, so the layers are named relative to their common directory;
    they are
    all in one. Only a thread that does not share its working directory may go there. Raises OSError.
    """
    base = lower[0].parent
    names = [_relative(layer, base) for layer in lower]
    options = ",".join(
        (
            f"lowerdir={':'.join(_escaped(name) for name in names)}",
            f"upperdir={_escaped(os.path.relpath(upper, base))}",
            f"workdir={_escaped(os.path.relpath(work, base))}",
            "userxattr" if user_xattr else "redirect_dir=off,metacopy=off,index=off",
            *(("volatile",) if volatile else ()),
        )
    )
    if len(options) >= _PAGE:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG), str(target))
    destination = str(target.absolute())
    base = base.absolute()
    # The kernel refuses a directory that was mounted volatile before: a power cut may have hurt it.
    remove_path(work / "work" / "incompat")

    def work_there() -> None:
        unshare(CLONE_FS)
        os.chdir(base)
        mount("overlay", destination, "overlay", flags, options)

    _on_own_thread(work_there)


def _relative(layer: Path, base: Path) -> str:
    return layer.name if layer.parent == base else os.path.relpath(layer, base)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _on_own_thread(work: Callable[[], None]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked
            failed.append(error)

    thread = threading.Thread(target=run, name="mount")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def is_mounted(target: Path) -> bool:
    """Whether something is mounted exactly at `target`."""
    try:
        return target.stat().st_dev != target.parent.stat().st_dev
    except OSError:
        return False
