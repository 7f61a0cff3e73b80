"""What a check found, and how it is mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["CheckVerdict", "fail", "ok", "skip", "warn"]

State = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """One line of the doctor."""

    check: str
    """The part it is about: `catalog`, `tls` …"""
    state: State
    says: str
    mend: str = ""
    """What to do; empty when nothing has to be done."""

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"check": self.check, "state": self.state, "says": self.says, "mend": self.mend}


def ok(check: str, says: str) -> CheckVerdict:
    return CheckVerdict(check, "ok", says)


def warn(check: str, says: str, mend: str) -> CheckVerdict:
    """It works, but not as it should, or not for long."""
    return CheckVerdict(check, "warn", says, mend)


def fail(check: str, says: str, mend: str) -> CheckVerdict:
    """Something does not work."""
    return CheckVerdict(check, "fail", says, mend)


def skip(check: str, says: str) -> CheckVerdict:
    """It could not be found out."""
    return CheckVerdict(check, "skip", says)
