"""`--restart`: when the monitor starts a container's process again. There is no daemon, so nothing comes back
after a reboot or when the monitor itself was killed.

`stop`, and `kill` with a signal that ends it, leave `stop-asked` in the container's directory first: whoever
sees the process end knows by it that the end was wanted.
"""

from __future__ import annotations

from pathlib import Path

from entrepot.backoff import backoff_s
from entrepot.containers.errors import InvalidOption

_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 60.0
LASTED_S = 10.0
"""Who ran so long has not failed at the start: the pauses begin anew. docker's number."""


def parse_restart(text: str) -> tuple[str, int]:
    """The policy, and N of `on-failure:N` or 0 for no limit. Raises InvalidOption."""
    name, colon, count = text.partition(":")
    if name not in _POLICIES:
        raise InvalidOption(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'"
        )
    if not colon:
        return name, 0
    if name != "on-failure":
        raise InvalidOption("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if not (count.isascii() and count.isdigit()):
        raise InvalidOption("invalid restart policy: maximum retry count must be an integer")
    return name, int(count)


def comes_again(policy: str, retries: int, *, restarts: int, exit_code: int) -> bool:
    """Whether a process that ended by itself is started again, after so many `restarts`."""
    if policy == "on-failure":
        return exit_code != 0 and (retries == 0 or restarts < retries)
    return policy in ("always", "unless-stopped")


def pause_s(ends: int) -> float:
    """How long to wait after so many ends in a row, each of a process that had not lasted."""
    return backoff_s(ends, first_s=_FIRST_PAUSE_S, longest_s=_MAX_PAUSE_S)


def ends_in_a_row(before: int, *, lasted_s: float) -> int:
    """With the one that has just come, after so many `before`."""
    return 1 if lasted_s >= LASTED_S else before + 1


def ask_to_stop(directory: Path) -> None:
    """From now on the container in `directory` is not started again. Nothing when it is gone."""
    if directory.exists():
        (directory / "stop-asked").touch()


def is_asked_to_stop(directory: Path) -> bool:
    """Whether somebody wants it to stay down, or it is gone."""
    return (directory / "stop-asked").exists() or not directory.exists()


def forget_stop(directory: Path) -> None:
    """It is started on purpose."""
    (directory / "stop-asked").unlink(missing_ok=True)
