"""The `entrepot` program: what happens before a command line is read and after it has been carried out.

Both exist for the milliseconds people wait at each command; nothing else may depend on them.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys

_GARBAGE_THRESHOLD = 100_000
"""Objects made before garbage is looked for. Loading modules makes many and leaves none."""

_MOST_FILES = 1 << 20
"""docker's limit. A program that closes every possible one would take minutes with some machines' own."""


class QuickExit:
    """Ends the process where Python would begin to take everything apart, which the system does faster.

    The system also does it without fail: threads of an object store's client that want Python once more at
    that moment would end the process by SIGABRT, whatever its command has achieved.

    It is registered before anything else, so it runs after all other exit handlers and after the threads
    Python waits for. While `code` is None it does nothing.
    """

    def __init__(self) -> None:
        self.code: int | None = None

    def __call__(self) -> None:
        if self.code is None:
            return
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                return  # what Python has to say about it is worth the wait
        os._exit(self.code)


def _allow_many_files() -> None:
    """A tree of many layers takes a descriptor for each layer and directory: more than the usual 1024.

    Containers have the same limit, as docker's have.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, _MOST_FILES)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run() -> None:
    """Carry out the command line and end the process with its exit code."""
    leave = QuickExit()
    atexit.register(leave)
    before = gc.get_threshold()
    gc.set_threshold(_GARBAGE_THRESHOLD, *before[1:])
    argv = sys.argv[1:]
    leave.code = carry_out(argv, before)
    sys.exit(leave.code)


def carry_out(argv: list[str], garbage: tuple[int, int, int] | None = None) -> int:
    """Read and carry out one command line; its exit code. `garbage` is when Python would look for garbage."""
    _leave_out_typing_extensions()
    from entrepot.cli.quick import carry_out_quickly

    _allow_many_files()
    code = carry_out_quickly(argv)
    if code is not None:
        return code
    from entrepot.cli.main import SERVER_COMMANDS, main

    if garbage is not None and not SERVER_COMMANDS.isdisjoint(argv):
        # They live long.
        gc.set_threshold(*garbage)
    return main(argv)


def _leave_out_typing_extensions() -> None:
    """msgspec asks it first for names that typing has; where a server's packages brought it along, that takes
    8 ms, of which `inspect` is most."""
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # as the import system has "not there"
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]
