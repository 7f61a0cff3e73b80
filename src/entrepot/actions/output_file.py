"""The file behind `-o`: it has its name once it is whole, and leaves nothing when the process is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from entrepot.actions.errors import FileUnusable
from entrepot.files import replaced_file


def require_writable(path: Path, doing: str) -> None:
    """Tell at once what is wrong with the place for a file. `doing` begins the error: `save image`. Raises
    FileUnusable."""
    if path.is_dir():
        raise FileUnusable(f"failed to {doing}: invalid output path: {path} is a directory")
    if not path.parent.is_dir():
        raise FileUnusable(
            f"failed to {doing}: invalid output path: stat {path.parent}: no such file or directory"
        )


@contextmanager
def new_file(path: Path, doing: str) -> Iterator[BinaryIO]:
    """`replaced_file` with mode 0600, its refusals in the words of the command. Raises FileUnusable."""
    require_writable(path, doing)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(replaced_file(path, mode=0o600))
        except OSError as error:
            reason = (error.strerror or "cannot be written").lower()
            raise FileUnusable(f"failed to {doing}: open {path}: {reason}") from error
        yield file
