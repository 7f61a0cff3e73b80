"""Where the local store is when nobody says. Imports nothing: every command line asks."""

from __future__ import annotations

import os
from pathlib import Path


def default_store_path() -> Path:
    """`$ENTREPOT_STORE`, else `$XDG_DATA_HOME/entrepot`, else `~/.local/share/entrepot`."""
    named = os.environ.get("ENTREPOT_STORE")
    if named:
        return Path(named)
    data_home = os.environ.get("XDG_DATA_HOME")
    return (Path(data_home) if data_home else Path.home() / ".local" / "share") / "entrepot"
