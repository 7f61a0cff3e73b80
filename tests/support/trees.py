"""Trees as plain values, to compare what different programs made of the same layers."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

Row = tuple[str, int, int, int, int, int, str, tuple[tuple[str, bytes], ...]]


def rows(root: Path, *, times: bool = True, owners: bool = True) -> dict[str, Row]:
    """Every path below `root` with kind and mode, owner, size, device, time in ns, link target and xattrs."""
    found: dict[str, Row] = {}
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(folder, name)
            status = path.lstat()
            is_link = stat.S_ISLNK(status.st_mode)
            found[str(path.relative_to(root))] = (
                oct(status.st_mode),
                status.st_uid if owners else 0,
                status.st_gid if owners else 0,
                status.st_size if stat.S_ISREG(status.st_mode) else 0,
                status.st_rdev,
                status.st_mtime_ns if times else 0,
                os.readlink(path) if is_link else "",
                () if is_link else _xattrs(path),
            )
    return found


def _xattrs(path: Path) -> tuple[tuple[str, bytes], ...]:
    with contextlib.suppress(OSError):
        return tuple(
            (key, os.getxattr(path, key))
            for key in sorted(os.listxattr(path, follow_symlinks=False))
            if not key.startswith(("trusted.", "user.overlay"))
        )
    return ()


def link_groups(root: Path) -> set[frozenset[str]]:
    """Names of files that are one file."""
    groups: dict[tuple[int, int], set[str]] = {}
    for folder, _, files in os.walk(root):
        for name in files:
            path = Path(folder, name)
            status = path.lstat()
            if status.st_nlink > 1:
                groups.setdefault((status.st_dev, status.st_ino), set()).add(str(path.relative_to(root)))
    return {frozenset(group) for group in groups.values()}


def different(left: dict[str, Row], right: dict[str, Row]) -> dict[str, tuple[Row | None, Row | None]]:
    """Paths that are not the same, with both sides."""
    return {
        path: (left.get(path), right.get(path))
        for path in sorted(left.keys() | right.keys())
        if left.get(path) != right.get(path)
    }
