"""The set-up link a server's first start prints."""

import re
from pathlib import Path

from tests.support.processes import tail, wait_until

_LINK = re.compile(r"/setup\?token=(\S+)")


def setup_token(log: Path) -> str:
    """The token of the link; it is printed a moment after the server answers."""
    try:
        wait_until(lambda: _LINK.search(log.read_text()), what="the set-up link")
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{tail(log)}") from error
    found = _LINK.search(log.read_text())
    assert found is not None
    return found[1]
