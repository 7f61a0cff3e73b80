"""Names of uploads that nobody has written to yet: they say themselves what a row would.

`<started at><random><algorithm><mac>`, all hexadecimal. The mac, keyed with a secret of the catalog, covers
the repository too, so a name that was made up, or that belongs to another repository, is nobody's. It gives
no right: whoever uses it is asked for theirs. Names sort by time, so that the marks of used ones lie
together.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from entrepot.oci.digest import ALGORITHMS
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock, microseconds
from entrepot.server.db.settings import keep_setting
from entrepot.server.repos.limits import RepositoryLimits

__all__ = ["Fresh", "UploadIds", "UploadNames", "ensure_upload_key", "first_id_of"]

_KEY: Final = "upload_key"
_TIME, _RANDOM, _MAC = 16, 16, 32
_FORM: Final = re.compile(rf"[0-9a-f]{{{_TIME + _RANDOM}}}[0-9][0-9a-f]{{{_MAC}}}")


@dataclass(frozen=True, slots=True)
class Fresh:
    """What the name of an upload says of it while it has no row."""

    started_at: int
    """Steady time, microseconds."""
    algorithm: str


class UploadIds:
    """Makes and reads the names of one catalog."""

    def __init__(self, key: str) -> None:
        self._key = bytes.fromhex(key)

    def new(self, repository: str, algorithm: str, started_at: int) -> str:
        """A name that was never given before."""
        said = f"{started_at:0{_TIME}x}{secrets.token_hex(_RANDOM // 2)}{ALGORITHMS.index(algorithm)}"
        return said + self._mac(repository, said)

    def read(self, repository: str, upload: str) -> Fresh | None:
        """What the name says; None when this catalog never gave it to that repository."""
        if not _FORM.fullmatch(upload):
            return None
        said, mac = upload[:-_MAC], upload[-_MAC:]
        if not hmac.compare_digest(mac, self._mac(repository, said)):
            return None
        return Fresh(int(said[:_TIME], 16), ALGORITHMS[int(said[-1])])

    def _mac(self, repository: str, said: str) -> str:
        return hmac.digest(self._key, f"{repository}\0{said}".encode(), "sha256").hex()[:_MAC]


class UploadNames:
    """The names of one process's catalog; its secret is read when it is first needed."""

    def __init__(self, catalog: Catalog, clock: Clock, limits: RepositoryLimits) -> None:
        self._catalog = catalog
        self._clock = clock
        self._ttl = microseconds(limits.upload_ttl_s)
        self._ids: UploadIds | None = None

    async def new(self, repository: str, algorithm: str) -> str:
        """A name that was never given before."""
        ids = self._ids or await self._read_key()
        return ids.new(repository, algorithm, self._clock.steady())

    async def read(self, repository: str, upload_id: str) -> Fresh | None:
        """What the name of an upload says; None when it is no name of ours, or too old."""
        fresh = (self._ids or await self._read_key()).read(repository, upload_id)
        return None if fresh is None or fresh.started_at + self._ttl <= self._clock.steady() else fresh

    async def _read_key(self) -> UploadIds:
        self._ids = UploadIds(await self._catalog.write(ensure_upload_key))
        return self._ids


def first_id_of(moment: int) -> str:
    """Sorts before every name given at a steady time or later."""
    return f"{max(moment, 0):0{_TIME}x}"


def ensure_upload_key(connection: Connection) -> str:
    """The secret of this catalog, made when it is first asked for."""
    return keep_setting(connection, _KEY, secrets.token_hex(32))
