"""Structured logs: a constant event and fields, as JSON lines or as text for people.

    log = get_log(__name__)
    log.info("blob stored", digest=digest, size=size)

Secrets are removed from every field and message. Nothing from outside can forge a line or move a
terminal's cursor: control characters are escaped in both formats. Writing a log never raises.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import msgspec

from entrepot.observability.redact import redact_fields, redact_text

ROOT: Final = "entrepot"
LogFormat = Literal["json", "plain"]

# Control characters (C0, DEL, C1), line separators, and marks that turn the direction of text around.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class Log:
    """Events of one area. Field names are free, but `event`, `level`, `time` and `logger` are taken."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: Any) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the trace of the exception being handled."""
        self._log(logging.ERROR, event, fields, exc_info=True)

    def _log(self, level: int, event: str, fields: dict[str, Any], *, exc_info: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            # `%` of an event is no placeholder: no arguments are given.
            self._logger.log(level, event, exc_info=exc_info, extra={"fields": fields}, stacklevel=3)


def get_log(name: str) -> Log:
    return Log(logging.getLogger(name))


def configure_logs(
    *, level: str = "info", log_format: LogFormat = "plain", stream: TextIO | None = None
) -> logging.Handler:
    """Send the package's events, and warnings of everything else, to `stream` (standard error).

    Calling it again replaces what was set up before. Raises KeyError for an unknown level.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else PlainFormatter())
    handler.set_name("entrepot")
    root = logging.getLogger()
    for old in [known for known in root.handlers if known.get_name() == "entrepot"]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.getLogger(ROOT).setLevel(_LEVELS[level])
    logging.raiseExceptions = False  # a full disk under the log must not become noise on stderr
    return handler


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact_text(record.getMessage()),
        }
        for name, value in _fields(record).items():
            line[name if name not in line else f"{name}_"] = value
        if record.exc_info:
            line["trace"] = redact_text(_trace(record))
        return _UNSAFE.sub(_json_escape, _encode(line))


class PlainFormatter(logging.Formatter):
    """`time LEVEL event name=value …`, and a trace indented below."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [_time(record), record.levelname, _visible(redact_text(record.getMessage()))]
        parts += [f"{_visible(name)}={_plain_value(value)}" for name, value in _fields(record).items()]
        line = " ".join(parts)
        if record.exc_info:
            trace = redact_text(_trace(record)).rstrip("\n").split("\n")
            line += "".join(f"\n    {_visible(row)}" for row in trace)
        return line


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    own = getattr(record, "fields", None)
    return redact_fields(own) if isinstance(own, dict) else {}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace(record: logging.LogRecord) -> str:
    assert record.exc_info is not None
    return "".join(traceback.format_exception(*record.exc_info))


def _encode(line: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=str).decode("utf-8")
    except (TypeError, ValueError, UnicodeEncodeError):  # lone surrogates, foreign key types
        plain = {str(key): _visible(str(value)) for key, value in line.items()}
        return msgspec.json.encode(plain).decode("utf-8")


def _json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _visible(text: str) -> str:
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _plain_value(value: Any) -> str:
    if isinstance(value, dict | list):
        return _visible(_encode_any(value))
    text = _visible(str(value))
    if text == "" or any(character in text for character in ' "='):
        return '"' + text.replace('"', '\\"') + '"'
    return text


def _encode_any(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode("utf-8")
