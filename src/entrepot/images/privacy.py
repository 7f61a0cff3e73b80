"""Keeps everybody but its owner out of a store.

Containers leave setuid programs in it, and records hold what `-e` was given, so no other user of the machine
may reach either (the class of CVE-2021-41091). Each folder keeps others out by itself: the one above may be
shared, a link, or opened by hand.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from entrepot.files import close_to_others
from entrepot.images.errors import StoreOfAnother
from entrepot.images.paths import StorePaths

_OTHERS = 0o077


def make_private_root(root: Path) -> None:
    """The folder of a new store, with what is above it."""
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            root.mkdir(mode=0o700)


def keep_private(paths: StorePaths) -> None:
    """Close the top folders of a store that is there: one look at each. Raises StoreOfAnother."""
    for folder in (paths.root, paths.own):
        _check_may_enter(folder)
    if _holds_only_a_store(paths):
        close_to_others(paths.root)
    close_to_others(paths.blobs)
    for folder in (*_folders_in(paths.own), paths.own):
        close_to_others(folder)


def _check_may_enter(folder: Path) -> None:
    try:
        owner = folder.stat().st_uid
    except OSError:
        return
    if owner != os.geteuid() and not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        raise StoreOfAnother(folder, _name_of(owner))


def _holds_only_a_store(paths: StorePaths) -> bool:
    """Not where somebody keeps other things, too: /srv, or a disk's top folder."""
    own = {paths.layout, paths.index, paths.blobs, paths.own}
    try:
        return bool(paths.root.stat().st_mode & _OTHERS) and set(paths.root.iterdir()) <= own
    except OSError:
        return False


def _folders_in(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as found:
            yield from [Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return


def _name_of(uid: int) -> str:
    import pwd  # seldom needed

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid}"
