"""Asking before something is removed."""

from __future__ import annotations

from entrepot.cli.output import write


def confirmed(warning: str) -> bool:
    """Asks; the end of the input is a no."""
    write(warning)
    try:
        return input("Are you sure you want to continue? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        write()
        return False
