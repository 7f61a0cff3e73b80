"""What garbage collection removes, and why: the words of its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Literal

from entrepot.server.db.clock import SECOND

__all__ = ["GcReport", "Kind", "Reason", "Removal", "Waiting"]

Kind = Literal["manifest", "untagged-manifest", "link", "blob", "upload", "repository", "file"]
SAMPLE: Final = 5
"""Things of each kind that a report names."""


class Reason(Enum):
    """Why a thing goes: a sentence for people, `{ago}` being how long ago it began to be so."""

    UNDO_OVER = "deleted {ago}, the undo window is over"
    UNTAGGED = "pushed {ago}; no tag, no index and no tagged referrer needs it"
    UNNEEDED = "no manifest of this repository needs it; its lease ended {ago}"
    UNLINKED = "no repository links it; its lease ended {ago}"
    IDLE = "nobody has written to it; it expired {ago}"

    @property
    def key(self) -> str:
        """As reports have it: `undo-over`."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that goes."""

    kind: Kind
    name: str
    """A digest, an upload's id, a repository, a physical name."""
    why: Reason
    elapsed: int
    """Microseconds since it began to be so."""
    size: int = 0
    """Bytes that this frees, sooner or later."""
    repository: str | None = None

    @property
    def reason(self) -> str:
        """A sentence for people."""
        return self.why.value.format(ago=f"{age(self.elapsed)} ago")

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
class _Sum:
    count: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is kept for a time only."""

    count: dict[str, int]
    """By kind."""
    size: int
    """Bytes that will be freed."""
    first_due: int | None
    """When the first of it may go: microseconds since 1970. None when nothing waits."""

    def to_json(self) -> dict[str, Any]:
        """As `--json` has it."""
        due = None
        if self.first_due is not None:
            due = datetime.fromtimestamp(self.first_due // SECOND, UTC).isoformat().replace("+00:00", "Z")
        return {"count": self.count, "bytes": self.size, "first_due": due}


@dataclass(slots=True)
class GcReport:
    """What a run did, or would do. It names a few things of each kind, however many there were."""

    dry_run: bool
    removed: dict[str, int] = field(default_factory=dict)
    """Count by kind."""
    bytes_freed: int = 0
    """Of blobs and uploads; on disk once the trash is emptied."""
    in_use: int = 0
    """Things that came into use again while this run looked at them, and stayed."""
    sample: list[Removal] = field(default_factory=list)
    """The first things of each kind."""
    waiting: Waiting | None = None
    """Of a dry run: what goes when an undo window or a lease is over, if nobody asks for it until then."""
    trash: Waiting | None = None
    """Of a dry run: files whose last row is gone."""
    _reasons: dict[Reason, _Sum] = field(default_factory=dict)

    def add(self, removal: Removal) -> None:
        """Count one."""
        kind = removal.kind
        before = self.removed.get(kind, 0)
        self.removed[kind] = before + 1
        if before < SAMPLE:
            self.sample.append(removal)
        if kind in {"blob", "upload"}:
            self.bytes_freed += removal.size
        reason = self._reasons.get(removal.why)
        if reason is None:
            reason = self._reasons[removal.why] = _Sum()
        reason.count += 1
        reason.size += removal.size

    def size_of(self, why: Reason) -> int:
        """Bytes of what goes for a reason."""
        found = self._reasons.get(why)
        return 0 if found is None else found.size

    def to_json(self) -> dict[str, Any]:
        """As a job's result and `--json` have it."""
        later = {"waiting": self.waiting, "trash": self.trash}
        return {
            "dry_run": self.dry_run,
            "removed": dict(sorted(self.removed.items())),
            "bytes_freed": self.bytes_freed,
            "in_use": self.in_use,
            "reasons": {
                why.key: {"count": found.count, "bytes": found.size}
                for why, found in sorted(self._reasons.items(), key=lambda item: item[0].key)
            },
            "sample": [removal.to_json() for removal in self.sample],
            **{name: found.to_json() for name, found in later.items() if found is not None},
        }


def age(elapsed: int) -> str:
    """Microseconds in words: the largest fitting unit."""
    seconds = max(0, elapsed) // SECOND
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"
