"""Checks of an installation from the inside: its directory, catalog, store and nodes.

Each check is a function that returns verdicts and raises nothing an operator could cause. What clients meet
from the outside is `doctor_wire`.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import statistics
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from entrepot.errors import EntrepotError
from entrepot.oci.digest import Digest
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import SECOND
from entrepot.server.db.copynote import CopyState
from entrepot.server.db.settings import get_identity
from entrepot.server.doctor.verdict import CheckVerdict, fail, ok, skip, warn
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.copylag import copy_problem
from entrepot.server.upkeep.nodes import ClusterNode, list_nodes

__all__ = ["check_catalog", "check_copy", "check_directory", "check_nodes", "check_store", "find_listens"]

_LOW_SHARE: Final = 0.05
_SKEW_S: Final = 5.0
_NETWORK_FILESYSTEMS: Final = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph"}
_STORE_SIGNS: Final = {
    "RequestTimeTooSkewed": "run an NTP client on this machine",
    "NoSuchBucket": "create the bucket, or correct storage.url",
    "404": "create the bucket, or correct storage.url",
    "incorrectly configured region": "correct storage.region",
    "401": "are storage.access_key_id and storage.secret_access_key right?",
    "403": "are storage.access_key_id and storage.secret_access_key right, and may that key read, write, "
    "list and delete objects of the bucket?",
    "error sending request": "is storage.endpoint right, and the way to it open?",
    "Read-only file system": "mount it writable",
    "Permission denied": "give the directory to the account that runs the server: chown -R USER DIRECTORY",
}
"""What a store's message has in it → how it is mended."""
_KEY: Final = re.compile(r" for path \S+(?=:)")
_STORES_DOCUMENT: Final = re.compile(r": <\?xml.*", re.DOTALL)
_PROBE: Final = b"entrepot doctor was here\n"


def check_directory(data: Path, *, holds_catalog: bool, secrets: Sequence[Path] = ()) -> list[CheckVerdict]:
    """The data directory: ours alone, on a local disk, with room."""
    try:
        found = data.stat()
        space = os.statvfs(data)
    except OSError as error:
        mend = "name the directory with --data, or the settings with --config"
        return [fail("directory", f"{data} can't be read: {error.strerror}", mend)]
    verdicts = []
    # A scratch directory that Kubernetes made belongs to root; without the catalog nothing is kept in it.
    is_ours = holds_catalog or found.st_uid == os.geteuid()
    if is_ours and stat.S_IMODE(found.st_mode) & 0o077:
        verdicts.append(fail("directory", f"others may look into {data}", f"chmod 700 {data}"))
    if not os.access(data, os.W_OK | os.X_OK):
        mend = f"give it to the account that runs the server: chown -R USER {data}; or mount it writable"
        verdicts.append(fail("directory", f"this account may not write to {data}", mend))
    verdicts += [verdict for secret in secrets if (verdict := _check_secret(secret)) is not None]
    kind = _filesystem_of(data)
    if holds_catalog and kind in _NETWORK_FILESYSTEMS:
        mend = "keep the directory on a local disk, or set catalog.url to a PostgreSQL"
        verdicts.append(
            fail("directory", f"{data} is on {kind}, where SQLite's locks can't be trusted", mend)
        )
    verdicts += _space(data, space)
    return verdicts or [ok("directory", f"{data}: private, {_share(space):.0%} free")]


def check_copy(state: CopyState) -> CheckVerdict:
    """Whether the catalog's copy would do if the disk were gone now."""
    problem = copy_problem(state)
    if not problem:
        return ok("copy", f"{state.place}: {state.lag_s:.0f} s behind")
    mend = "is the server running, and can it write there? its log says what Litestream complains of"
    return fail("copy", problem, mend)


def _check_secret(path: Path) -> CheckVerdict | None:
    """A group of the server's own may read it: that is how Kubernetes hands secrets out."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o027:
            return fail("directory", f"others may read or change {path}", f"chmod 600 {path}")
        if not os.access(path, os.R_OK):
            return fail("directory", f"this account may not read {path}", f"chown USER {path}")
    except FileNotFoundError:
        return None
    except OSError as error:
        return fail("directory", f"{path} can't be read: {error.strerror}", "chown it, and its folder")
    return None


def _space(data: Path, space: os.statvfs_result) -> list[CheckVerdict]:
    mend = "free space, or run: entrepot admin gc"
    if _share(space) < _LOW_SHARE:
        return [warn("directory", f"the disk of {data} is {1 - _share(space):.0%} full", mend)]
    if space.f_files and space.f_favail / space.f_files < _LOW_SHARE:
        return [warn("directory", f"the disk of {data} has few inodes left", mend)]
    return []


def _share(space: os.statvfs_result) -> float:
    return space.f_bavail / space.f_blocks if space.f_blocks else 1.0


def _filesystem_of(path: Path) -> str:
    """The kind of file system, as the kernel names it; empty when it can't be told."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text()
    except OSError:
        return ""
    whole = f"{path.resolve()}/"
    for line in mounts.splitlines():
        _, at, this_kind, *_ = line.split(" ")
        if whole.startswith(at.rstrip("/") + "/") and len(at) >= len(best):
            best, kind = at, this_kind
    return kind


async def check_catalog(catalog: Catalog) -> list[CheckVerdict]:
    """The database answers, keeps what it is told to, and its clock is near ours."""
    try:
        if catalog.dialect == "sqlite":
            problems = await catalog.read(_sqlite_problems)
            if problems:
                mend = "stop the server, copy the data directory, then: entrepot admin restore"
                return [fail("catalog", f"the database file is damaged: {problems[0]}", mend)]
            return [ok("catalog", "SQLite, undamaged")]
        settings, skew_s = await catalog.read(_postgresql_facts, catalog.clock.now())
    except EntrepotError as error:
        return [
            fail(
                "catalog",
                error.message,
                error.hint or error.operator_hint or "is the database running, and catalog.url right?",
            )
        ]
    verdicts = []
    for name in ("fsync", "full_page_writes"):
        if settings.get(name) != "on":
            mend = f"set {name} = on: a power cut would lose pushes that were acknowledged"
            verdicts.append(fail("catalog", f"PostgreSQL runs with {name} = {settings.get(name)}", mend))
    if settings.get("data_checksums") != "on":
        mend = "stop it and run: pg_checksums --enable"
        verdicts.append(warn("catalog", "PostgreSQL keeps no checksums of its pages", mend))
    if abs(skew_s) > _SKEW_S:
        mend = "run an NTP client on this machine and on the database's"
        verdicts.append(warn("clock", f"this clock and the database's differ by {abs(skew_s):.0f} s", mend))
    version, connections = settings.get("server_version", "?"), settings.get("max_connections", "?")
    return [ok("catalog", f"PostgreSQL {version}, {connections} connections"), *verdicts]


def _sqlite_problems(connection: Connection) -> list[str]:
    lines = [str(line) for line in connection.execute(text("PRAGMA quick_check(3)")).scalars()]
    return [] if lines == ["ok"] else lines


def _postgresql_facts(connection: Connection, now: int) -> tuple[dict[str, str], float]:
    names = ("fsync", "full_page_writes", "data_checksums", "max_connections", "server_version")
    settings = {name: str(connection.execute(text(f"SHOW {name}")).scalar_one()) for name in names}
    theirs = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
    return settings, now / SECOND - float(theirs)


async def check_store(catalog: Catalog | None, store: BlobStore) -> list[CheckVerdict]:
    """Blobs can be written, read and removed, and this is the catalog's own store (when there is a catalog
    to ask).
    """
    try:
        verdicts = [] if catalog is None else await _check_identity(catalog, store)
        if not await _probe(store):
            mend = "use a store that shows at once what was written and deleted"
            verdicts.append(
                fail("store", "it does not give back what was written, or keeps what was deleted", mend)
            )
    except EntrepotError as error:
        said = _without_clients_notes(error.message)
        mend = _mend_of_store(said) or error.hint or "may this account read, write, list and delete there?"
        return [fail("store", _STORES_DOCUMENT.sub("", said), mend)]
    whose = "" if catalog is None else "; it is this catalog's"
    return verdicts or [ok("store", f"writes, reads and removes blobs{whose}")]


async def _check_identity(catalog: Catalog, store: BlobStore) -> list[CheckVerdict]:
    known, marked = await catalog.read(get_identity), await store.read_identity()
    if known is None or marked is None:
        return [warn("store", "it has not been served yet", "start it once with: entrepot serve")]
    if known.store_id != marked.store_id:
        return [
            fail("store", "the blobs are another catalog's", "point catalog.url and storage.url at a pair")
        ]
    if known.epoch < marked.epoch:
        mend = "use the place that the registry was moved to; where there is none, restore the newest backup "
        mend += "with: entrepot admin restore"
        return [fail("store", "the catalog is older than its blobs", mend)]
    return []


async def _probe(store: BlobStore) -> bool:
    """Whether a blob comes back as it was, and is gone when it was deleted."""
    phys = await store.put(Digest.of(_PROBE), _PROBE)
    try:
        async with aclosing(await store.open(phys, 0, len(_PROBE))) as pieces:
            read = b"".join([piece async for piece in pieces])
    finally:
        await store.delete(phys)
    return read == _PROBE and await store.size(phys) is None


def _without_clients_notes(message: str) -> str:
    """Without what an object store's client adds for its developers: names and times, in which any number
    may be (`Error performing GET URL in 1.2s, after 3 retries - `)."""
    before, note, rest = _KEY.sub("", message).partition("Error performing ")
    told, dash, after = rest.partition(" - ")
    return before + after if dash else before + note + told


def _mend_of_store(said: str) -> str | None:
    return next((mend for sign, mend in _STORE_SIGNS.items() if re.search(rf"\b{sign}\b", said)), None)


async def check_nodes(catalog: Catalog) -> list[CheckVerdict]:
    """Who serves, whether they are well, and run the same version."""
    try:
        nodes = await catalog.read(list_nodes, catalog.clock.steady())
    except EntrepotError as error:
        return [skip("nodes", error.message)]
    if not nodes:
        return [skip("nodes", "nothing has been heard of any server; is it running?")]
    verdicts = []
    for node in nodes:
        for part, problem in dict(node.detail.get("problems", {})).items():
            verdicts.append(fail("nodes", f"{node.id}: {part}: {problem}", "see its log"))
        if node.state == "silent":
            mend = "start it again; it is forgotten after a day"
            verdicts.append(warn("nodes", f"{node.id} has been silent for {node.silent_s:.0f} s", mend))
    verdicts += _check_peers_clocks(nodes)
    versions = sorted({node.version for node in nodes if node.version})
    if len(versions) > 1:
        verdicts.append(warn("nodes", f"versions differ: {', '.join(versions)}", "finish the upgrade"))
    return verdicts or [ok("nodes", f"{len(nodes)} alive, version {', '.join(versions)}")]


async def find_listens(catalog: Catalog) -> Sequence[str]:
    """Addresses that a server on this machine says it listens on; none when there is none."""
    try:
        nodes = await catalog.read(list_nodes, catalog.clock.steady())
    except EntrepotError:
        return ()
    here = socket.gethostname()
    found = (one.detail.get("listen") for one in nodes if one.name == here and one.state == "alive")
    return next((tuple(map(str, listen)) for listen in found if listen), ())


def _check_peers_clocks(nodes: Sequence[ClusterNode]) -> list[CheckVerdict]:
    """Which machines' clocks differ from most others'."""
    ahead = {node.id: float(node.detail["clock_ahead_s"]) for node in nodes if "clock_ahead_s" in node.detail}
    if len(ahead) < 2:
        return []
    middle = statistics.median_low(ahead.values())
    return [
        warn(
            "clock",
            f"the clock of {name} differs from the other nodes' by {abs(by - middle):.0f} s",
            "run an NTP client there",
        )
        for name, by in sorted(ahead.items())
        if abs(by - middle) > _SKEW_S
    ]
