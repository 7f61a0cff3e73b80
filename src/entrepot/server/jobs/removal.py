"""What garbage collection removes, and why: the words of its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["manifest", "untagged-manifest", "link", "blob", "upload", "repository", "file"]


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that goes."""

    kind: Kind
    name: str
    """A digest, an upload's id, a repository, a physical name."""
    reason: str
    """A sentence for people."""
    size: int = 0
    """Bytes that this frees, sooner or later."""
    repository: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        row: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "size": self.size,
            "reason": self.reason,
        }
        return row if self.repository is None else {**row, "repository": self.repository}


@dataclass(slots=True)
class GcReport:
    """What a run did, or would do."""

    dry_run: bool
    removed: dict[str, int] = field(default_factory=dict)
    """Count by kind."""
    bytes_freed: int = 0
    """Of blobs and uploads; on disk once the trash is emptied."""
    in_use: int = 0
    """Things that came into use again while this run looked at them, and stayed."""

    def add(self, removal: Removal) -> None:
        """Count one."""
        self.removed[removal.kind] = self.removed.get(removal.kind, 0) + 1
        if removal.kind in {"blob", "upload"}:
            self.bytes_freed += removal.size

    def to_json(self) -> dict[str, Any]:
        """As a job's result and `--json` have it."""
        return {
            "dry_run": self.dry_run,
            "removed": dict(sorted(self.removed.items())),
            "bytes_freed": self.bytes_freed,
            "in_use": self.in_use,
        }
