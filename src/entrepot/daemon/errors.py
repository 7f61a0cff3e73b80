"""What a docker daemon may answer."""

from __future__ import annotations

from entrepot.errors import EntrepotError, NotFound, Unavailable


class DaemonUnreachable(Unavailable):
    """Nothing answers on the socket, or not as a docker daemon does."""

    code = "daemon-unreachable"


class DaemonRefused(EntrepotError):
    """The daemon said no; the message is its own."""

    code = "daemon-refused"


class NotInDaemon(NotFound):
    """The daemon has no such image; the message is its own."""

    code = "not-in-daemon"
