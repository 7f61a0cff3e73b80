"""Users and groups of an image, looked up in the image's own /etc/passwd and /etc/group, never on the
host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from entrepot.containers.errors import NoSuchUser
from entrepot.layers.paths import Path

_MAX_ID = (1 << 31) - 1


class Files(Protocol):
    """An image's files; a missing one is None."""

    def read_file(self, path: Path) -> bytes | None: ...


class User(Struct, frozen=True):
    """Whom a process runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    """Further groups, the primary one included when the user is a member by name."""
    home: str


def find_user(wanted: str, files: Files, extra_groups: Sequence[str] = ()) -> User:
    """`user`, `uid`, `user:group`, `uid:gid` and mixtures; empty is root. Raises NoSuchUser, in docker's
    words."""
    name, _, group = wanted.partition(":")
    name = name or "0"
    entry = _find_passwd(name, files)
    if entry is None:
        if not name.isdigit():
            raise NoSuchUser(f"unable to find user {name}: no matching entries in passwd file")
        entry = ("", _number(name), 0, "/")
    user, uid, gid, home = entry
    groups = _group_rows(files)
    if group:
        found = next((row for row in groups if row[0] == group or str(row[1]) == group), None)
        if found is None and not group.isdigit():
            raise NoSuchUser(f"unable to find group {group}: no matching entries in group file")
        # A group that was named is the only one, as in docker.
        gid = found[1] if found is not None else _number(group)
        members: list[int] = []
    else:
        members = [row[1] for row in groups if user and user in row[2]]
    return User(uid, gid, tuple(dict.fromkeys([*members, *_extra(extra_groups, groups)])), home)


def _extra(names: Sequence[str], groups: Sequence[tuple[str, int, list[str]]]) -> list[int]:
    found = []
    for name in names:
        row = next((row for row in groups if row[0] == name), None)
        if row is None and not name.isdigit():
            raise NoSuchUser(f"unable to find group {name}: no matching entries in group file")
        found.append(row[1] if row is not None else _number(name))
    return found


def _number(text: str) -> int:
    value = int(text)
    if value > _MAX_ID:
        raise NoSuchUser(f"uids and gids must be in range 0-{_MAX_ID}")
    return value


def _find_passwd(name: str, files: Files) -> tuple[str, int, int, str] | None:
    for line in _lines(files, b"passwd"):
        fields = line.split(":")
        if len(fields) < 6 or not fields[2].isdigit() or not fields[3].isdigit():
            continue
        if fields[0] == name or fields[2] == name:
            return fields[0], int(fields[2]), int(fields[3]), fields[5]
    return None


def _group_rows(files: Files) -> list[tuple[str, int, list[str]]]:
    rows = []
    for line in _lines(files, b"group"):
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdigit():
            rows.append((fields[0], int(fields[2]), fields[3].split(",")))
    return rows


def _lines(files: Files, name: bytes) -> list[str]:
    data = files.read_file((b"etc", name))
    return (data or b"").decode(errors="replace").splitlines()
