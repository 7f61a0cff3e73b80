"""From an exception to one line on stderr and an exit code. The only place that knows both."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from entrepot.cli import exitcodes
from entrepot.cli.terminal import text_lines
from entrepot.errors import EntrepotError

SERVER_PACKAGES = frozenset({
    "alembic", "argon2", "asyncpg", "bcrypt", "cryptography", "granian", "jinja2", "joserfc", "ldap3",
    "litestar", "markdown_it", "nh3", "obstore", "pyrage", "sqlalchemy", "uvloop",
})  # fmt: skip
"""What the registry needs and the image tool does not."""

SIGNING_PACKAGES = frozenset({"cbor2", "nacl", "rfc3161_client", "sigstore", "sigstore_models"})
"""What signatures need beside `cryptography`."""

PROSE_OF_ERRNO = {
    errno.ENOSPC: "no space left on device",
    errno.EDQUOT: "disk quota exceeded",
    errno.ENOENT: "no such file or directory",
    errno.EACCES: "permission denied",
    errno.EROFS: "read-only file system",
}


def carried_out(act: Callable[[], int | None], *, debug: bool) -> int:
    """The exit code of a command line that `act` carries out; what it raises becomes one line on stderr."""
    try:
        code = act()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return interrupted()
    except BrokenPipeError:
        # The reader has gone (`entrepot images | head -1`). Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exitcodes.FAILED
    except Exception as error:  # noqa: BLE001 - the last border: no trace reaches a user
        return report_failure(error, debug=debug)
    return exitcodes.OK if code is None else code


def interrupted() -> int:
    """The exit code after Ctrl-C, on a line of its own."""
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    return exitcodes.INTERRUPTED


def report_failure(error: BaseException, *, debug: bool) -> int:
    """Write `Error: …` (and the trace with `debug`) and return the exit code the error asks for.

    An error may carry `exit_code`, and `bare = True` when docker prints its message without a prefix.
    """
    if debug:
        import traceback

        sys.stderr.write(text_lines("".join(traceback.format_exception(error))))
    sys.stderr.write(text_lines(describe_failure(error)) + "\n")
    return int(getattr(error, "exit_code", exitcodes.FAILED))


def describe_failure(error: BaseException) -> str:
    """The line a person reads: what failed and, after a semicolon, what to do."""
    if isinstance(error, EntrepotError):
        message = error.message or type(error).__name__
        if not getattr(error, "bare", False):
            message = f"Error: {message}"
        hint = error.hint or error.operator_hint
        return f"{message}; {hint}" if hint else message
    if isinstance(error, OSError):
        return f"Error: {_describe_os_error(error)}"
    if isinstance(error, MemoryError):
        return "Error: not enough memory"
    missing = str(error.name).partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in SIGNING_PACKAGES or (missing == "cryptography" and _in_signing(error)):
        return (
            f"Error: signatures need the Python package {missing}, which the rest of the tool goes without; "
            "install it with: pip install 'entrepot[signing]' (in a clone: pip install '.[signing]')"
        )
    if isinstance(error, ModuleNotFoundError) and missing in SERVER_PACKAGES:
        return (
            f"Error: the registry needs the Python package {error.name}, which the image tool goes without; "
            "install what it needs with: pip install 'entrepot[server]' (in a clone: pip install '.[server]')"
        )
    return (
        f"Error: internal error: {type(error).__name__}: {_one_line(str(error))}; "
        "run it again with --debug for the trace"
    )


def _in_signing(error: BaseException) -> bool:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return any("/entrepot/signing/" in frame.filename for frame in frames)


def _describe_os_error(error: OSError) -> str:
    prose = PROSE_OF_ERRNO.get(error.errno or 0, (error.strerror or str(error)).lower())
    where = error.filename
    if isinstance(where, bytes):
        where = where.decode(errors="replace")
    return f"{where}: {prose}" if where else prose


def _one_line(text: str) -> str:
    return " ".join(text.split())
