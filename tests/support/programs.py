"""Real programs that tests need.

On a developer's machine a missing program skips the test that needs it; under `CI=true` it fails it, so
that a green run always means that the program was there.
"""

import os
import shutil
from collections.abc import Iterable

import pytest

IN_CI = os.environ.get("CI", "").lower() == "true"


def missing(what: str) -> None:
    """Skip the running test, or fail it under `CI=true`, because `what` is not here."""
    reason = f"{what} is not here; scripts/install-test-tools brings it"
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_program(name: str, *, also_in: Iterable[str] = ()) -> str:
    """The full path of program `name`, looked for on PATH and then in the folders `also_in`."""
    folders = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *also_in]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        missing(name)
        raise AssertionError
    return found


def require_root() -> None:
    """Skip, or fail under `CI=true`, when the test does not run as root."""
    if os.geteuid() != 0:
        missing("root")
