"""The program that copies a SQLite catalog all the time, and how it is told to.

Litestream reads the write-ahead log and keeps its pages, transaction by transaction, in a folder or bucket.
It is a program of its own (`pip install 'entrepot[copy]'` brings it); nothing of it is linked in.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import unquote, urlsplit

from entrepot.errors import InvalidInput, NotFound, Unavailable
from entrepot.server.config.model import Config

__all__ = ["STATE_FOLDER", "CatalogCopy", "CopyFailed", "litestream_program"]

SYNC_EVERY: Final = "1s"
STATE_FOLDER: Final = ".{}-litestream"
"""What Litestream keeps beside a database; it says nothing to another one in its place."""
RESTORE_TIMEOUT_S: Final = 3600
CHECK_TIMEOUT_S: Final = 300
_HINT: Final = "write s3://bucket/prefix or file:///folder"


class CopyFailed(Unavailable):
    """The catalog's copy could not be read, or has nothing as of that time."""

    code: ClassVar[str] = "catalog-copy-failed"


def litestream_program() -> Path:
    """Beside this Python, or on the PATH. Raises NotFound."""
    beside = Path(sys.executable).with_name("litestream")
    found = str(beside) if beside.exists() else shutil.which("litestream")
    if found is None:
        raise NotFound(
            "the catalog is to be copied (catalog.copy), and Litestream is not here",
            hint="install it with: pip install 'entrepot[copy]'",
        )
    return Path(found)


@dataclass(frozen=True, slots=True)
class CatalogCopy:
    """Where a catalog is copied to."""

    place: str
    """As it was written."""
    replica: Mapping[str, Any]
    """As Litestream's settings have it."""
    environment: Mapping[str, str]
    """Keys, which are in no file."""
    window_s: float

    @classmethod
    def of(cls, config: Config, place: str = "") -> CatalogCopy:
        """`place`, else `catalog.copy`; a bucket is reached as `[storage]` says. Raises InvalidInput."""
        place = place or config.catalog.copy
        replica, environment = _replica(place, config)
        return cls(place, replica, environment, float(config.catalog.copy_window))

    def settings(self, database: Path, *, socket: Path | None = None) -> str:
        """Litestream's file of settings: JSON, which is YAML."""
        window = f"{max(60, int(self.window_s))}s"
        document: dict[str, Any] = {
            "logging": {"type": "json", "level": "info", "stderr": True},
            "snapshot": {"interval": window, "retention": window},
            # Later than this only times half a minute or more apart would be left to restore.
            "l0-retention": window,
            "l0-retention-check-interval": f"{max(15, int(self.window_s) // 24)}s",
            "dbs": [{"path": str(database), "replica": dict(self.replica)}],
        }
        if socket is not None:
            document["socket"] = {"enabled": True, "path": str(socket)}
        return json.dumps(document)

    def whole_environment(self) -> dict[str, str]:
        """That of Litestream's process."""
        made = {**os.environ, **self.environment}
        # Litestream 0.5 can't start with it; what Go itself reads does the same.
        if bundle := made.pop("AWS_CA_BUNDLE", ""):
            made.setdefault("SSL_CERT_FILE", bundle)
        return made

    def restorable(self, database: Path, settings: Path) -> int:
        """The last transaction that a restore would bring back; every file on the way there is in its place.

        Blocks. Raises CopyFailed.
        """
        argv = [str(litestream_program()), "restore", "-no-expand-env", "-config", str(settings)]
        argv += ["-dry-run", "-json", "-o", str(settings.with_name("restored.db")), str(database)]
        done = subprocess.run(
            argv,
            env=self.whole_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=CHECK_TIMEOUT_S,
        )
        try:
            return int(json.loads(done.stdout)["max_txid"], 16)
        except (ValueError, KeyError, TypeError):
            raise CopyFailed(f"{self.place} can't be restored from: {_reason(done)}") from None

    def restore(self, database: Path, at: str | None, scratch: Path) -> None:
        """Write the catalog as of `at` (RFC 3339; None: the last there is) to `database`, which is not there.

        Blocks. Raises CopyFailed, NotFound.
        """
        settings = scratch / "litestream.conf"
        settings.write_text(self.settings(database))
        argv = [str(litestream_program()), "restore", "-no-expand-env", "-config", str(settings)]
        argv += ["-timestamp", at] if at else []
        done = subprocess.run(
            [*argv, str(database)],
            env=self.whole_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=RESTORE_TIMEOUT_S,
        )
        if done.returncode != 0 or not database.exists():
            raise CopyFailed(f"nothing could be restored from {self.place}: {_reason(done)}")


def _replica(place: str, config: Config) -> tuple[dict[str, Any], dict[str, str]]:
    parts, storage = urlsplit(place), config.storage
    if parts.scheme == "file" and parts.path not in {"", "/"} and not parts.netloc:
        _require_private(place, config)
        return {"type": "file", "path": unquote(parts.path), "sync-interval": SYNC_EVERY}, {}
    if parts.scheme == "s3" and parts.netloc and parts.path.strip("/"):
        _require_private(place, config)
        given = {"endpoint": storage.endpoint, "region": storage.region}
        replica = {
            "type": "s3",
            "bucket": parts.netloc,
            "path": parts.path.strip("/"),
            **{name: value for name, value in given.items() if value},
            "force-path-style": bool(storage.endpoint) and not storage.virtual_hosted,
            "sync-interval": SYNC_EVERY,
        }
        keys = {
            "LITESTREAM_ACCESS_KEY_ID": storage.access_key_id,
            "LITESTREAM_SECRET_ACCESS_KEY": str(storage.secret_access_key),
        }
        return replica, {name: value for name, value in keys.items() if value}
    raise InvalidInput(f"catalog.copy is {place!r}, which is no place for a copy", hint=_HINT)


def _require_private(place: str, config: Config) -> None:
    """Raises InvalidInput where a CDN or signed URLs might show it, or it would burn with the original."""
    wanted = place.rstrip("/") + "/"
    if config.storage.url and wanted.startswith(config.storage.url.rstrip("/") + "/"):
        raise InvalidInput(
            f"catalog.copy {place} is among the blobs of {config.storage.url}, which may be shown to clients",
            hint="give it a prefix of its own beside them, as s3://bucket/catalog-copy",
        )
    data = f"file://{config.server.data.absolute()}/"
    if wanted.startswith(data):
        raise InvalidInput(
            f"catalog.copy {place} is in the data directory, and would be lost with it",
            hint="name a folder on another disk, or a bucket",
        )


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing it said, in one line."""
    lines = [line for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    for line in reversed(lines):
        try:
            said = json.loads(line)
        except ValueError:
            return line.strip()
        if isinstance(said, dict):
            return str(said.get("error") or said.get("msg") or line)
    return f"Litestream ended with {done.returncode}"
