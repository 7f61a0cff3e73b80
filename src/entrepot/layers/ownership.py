"""What this process may do to a file, and where it writes down what it may not.

Root unpacks owners, devices and setuid bits as they are. A plain user, or one whose user namespace holds a
single id, cannot: what differs then is kept in the xattr `user.containers.override_stat` of the file, in the
form that containers/storage and fuse-overlayfs use, `uid:gid:mode[:type]`, mode in octal, type one of `file`,
`dir`, `pipe`, `block-MAJOR-MINOR`, `char-MAJOR-MINOR`. Devices become empty files that carry it. The file's
own
mode always lets its owner read and write, so that the tree can be read, changed and removed again.
A symlink or FIFO cannot carry a `user.` xattr; its owner, when not 0:0, is not kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from msgspec import Struct

from entrepot.layers.entry import Entry, Kind
from entrepot.layers.whiteout import OVERLAY_OPAQUE_ROOT, OVERLAY_OPAQUE_USER

OVERRIDE_XATTR = "user.containers.override_stat"
_OVERRIDE = re.compile(rb"([0-9]+):([0-9]+):([0-7]+)(?::([a-z]+)(?:-([0-9]+)-([0-9]+))?)?\Z")
_DEVICE_WORDS = {Kind.CHAR_DEVICE: "char", Kind.BLOCK_DEVICE: "block"}
_KIND_WORDS = {
    b"file": Kind.FILE,
    b"dir": Kind.DIRECTORY,
    b"pipe": Kind.FIFO,
    b"char": Kind.CHAR_DEVICE,
    b"block": Kind.BLOCK_DEVICE,
}


class Privileges(Struct, frozen=True):
    """What may be done to files here."""

    chown: bool
    """Any owner can be given; otherwise owners are written down."""
    mknod: bool
    """Device nodes can be made; otherwise they are written down."""
    opaque_xattr: str
    """How an overlay mount that this process can make is told of an opaque directory."""

    records: bool = True
    """What cannot be done is written down. Files copied out to a user's own directories need no such
    notes."""

    @property
    def user_xattr(self) -> bool:
        """Overlay mounts need the option `userxattr`."""
        return self.opaque_xattr == OVERLAY_OPAQUE_USER


ROOT = Privileges(chown=True, mknod=True, opaque_xattr=OVERLAY_OPAQUE_ROOT)
NAMESPACE = Privileges(chown=True, mknod=False, opaque_xattr=OVERLAY_OPAQUE_USER)
PLAIN = Privileges(chown=False, mknod=False, opaque_xattr=OVERLAY_OPAQUE_USER)


def current_privileges() -> Privileges:
    """What this process may do, by its user id and its user namespace."""
    if os.geteuid() != 0:
        return PLAIN
    try:
        rows = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except OSError:
        return ROOT
    if rows == [["0", "0", "4294967295"]]:
        return ROOT
    return NAMESPACE if sum(int(row[2]) for row in rows) > 1 else PLAIN


class Override(Struct, frozen=True):
    """What `user.containers.override_stat` says."""

    uid: int
    gid: int
    mode: int
    kind: Kind | None = None
    major: int = 0
    minor: int = 0

    def to_xattr(self) -> bytes:
        """The value as containers/storage writes it."""
        text = f"{self.uid}:{self.gid}:0{self.mode:o}"
        word = _DEVICE_WORDS.get(self.kind) if self.kind else None
        return (f"{text}:{word}-{self.major}-{self.minor}" if word else text).encode()

    @classmethod
    def from_xattr(cls, value: bytes) -> Override | None:
        """None for a value that is not in the form."""
        match = _OVERRIDE.match(value)
        if match is None:
            return None
        uid, gid, mode, word, major, minor = match.groups()
        kind = _KIND_WORDS.get(word) if word else None
        return cls(int(uid), int(gid), int(mode, 8) & 0o7777, kind, int(major or 0), int(minor or 0))


def override_for(entry: Entry, privileges: Privileges) -> Override | None:
    """What has to be written down about an entry that becomes a file or directory; None when nothing is
    lost."""
    if not privileges.records:
        return None
    is_device = entry.kind in _DEVICE_WORDS
    if is_device and not privileges.mknod:
        return Override(entry.uid, entry.gid, entry.mode, entry.kind, entry.major, entry.minor)
    if privileges.chown:
        return None
    if entry.uid == entry.gid == 0 and real_mode(entry, privileges) == entry.mode:
        return None
    return Override(entry.uid, entry.gid, entry.mode)


def real_mode(entry: Entry, privileges: Privileges) -> int:
    """The mode the file gets: its own, or one its owner can always work with."""
    if privileges.chown:
        return entry.mode
    # A setuid bit would hand out the rights of whoever unpacks.
    return (entry.mode & 0o1777) | (0o700 if entry.kind is Kind.DIRECTORY else 0o600)


def read_override(fd_or_path: int | str | bytes, status: os.stat_result) -> Override | None:
    """What is written down about a file or directory, if anything."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return None
    with contextlib.suppress(OSError):
        return Override.from_xattr(os.getxattr(fd_or_path, OVERRIDE_XATTR))
    return None
