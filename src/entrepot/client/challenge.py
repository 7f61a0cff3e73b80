"""`WWW-Authenticate` as a registry sends it (RFC 9110 §11.6.1, distribution's token specification)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# One element of the header's list: a scheme that may be followed by its first parameter, or a parameter.
_ELEMENT = re.compile(
    rf"""\s*(?:
        (?P<scheme>{_WORD})(?=\s+{_WORD}\s*=|\s*,|\s*$|\s+[A-Za-z0-9\-._~+/]+=*\s*(?:,|$))(?!\s*=)\s*
      | (?P<key>{_WORD})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]*))\s*
      | ,
    )""",
    re.VERBOSE,
)
_MAX_LENGTH = 16 * 1024


class Challenge(msgspec.Struct, frozen=True):
    """One way to authenticate. `scheme` is lower case; parameter names are lower case."""

    scheme: str
    parameters: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        return self.parameters.get("service", "")

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes asked for, each `type:name:actions`."""
        return tuple(self.parameters.get("scope", "").split())

    @property
    def error(self) -> str:
        """`invalid_token` or `insufficient_scope` when a token was sent and not accepted."""
        return self.parameters.get("error", "")


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """All challenges of all header lines, in order. Rubbish is skipped: it cannot be answered anyway."""
    found: list[Challenge] = []
    for header in headers:
        found.extend(_parse_line(header[:_MAX_LENGTH]))
    return tuple(found)


def _parse_line(line: str) -> list[Challenge]:
    found: list[Challenge] = []
    scheme: str | None = None
    parameters: dict[str, str] = {}
    position = 0
    while position < len(line):
        element = _ELEMENT.match(line, position)
        if element is None or element.end() == position:
            break
        position = element.end()
        if element["scheme"]:
            if scheme is not None:
                found.append(Challenge(scheme, parameters))
            scheme, parameters = element["scheme"].lower(), {}
        elif element["key"] and scheme is not None:
            quoted = element["quoted"]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else element["plain"]
            parameters.setdefault(element["key"].lower(), value)
    if scheme is not None:
        found.append(Challenge(scheme, parameters))
    return found
