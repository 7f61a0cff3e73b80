"""Which run of the machine this is, as far as it decides what a file without a sync may still hold."""

from __future__ import annotations

from pathlib import Path

__all__ = ["boot_id"]


def boot_id() -> str:
    """12 hex characters that change when this machine restarts: what an unsynced file can't outlive."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return "0" * 12
    return text.strip().replace("-", "")[:12]
