"""Secrets we hand out: 256 random bits, a prefix scanners find, a checksum, and a public id.

    ent_pat_ 3kTz0aQy9XbL vJ…43 characters…q 2Fh8aZ
    prefix   public id    secret              CRC-32

Only the SHA-256 of the whole text is kept; it is looked up by its public id and compared in constant time.
A fast hash is right here: there is nothing to guess in 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "Kind",
    "NewSecret",
    "SecretText",
    "hash_secret",
    "looks_like_secret",
    "new_secret",
    "parse_secret",
]

Kind = Literal["pat", "rob", "ses", "ref", "set"]
"""Personal access token, robot, web session, refresh token, set-up link."""

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH: Final = 12
_SECRET_LENGTH: Final = 43  # 62^43 > 2^256
_CHECKSUM_LENGTH: Final = 6
_PATTERN: Final = re.compile(
    r"ent_(pat|rob|ses|ref|set)_([0-9A-Za-z]{12})([0-9A-Za-z]{43})([0-9A-Za-z]{6})\Z"
)


class SecretText(str):
    """A str that does not show itself in a repr, a log line or a traceback's locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class NewSecret:
    """Shown once; `hash` is what is kept."""

    text: SecretText
    public_id: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class ParsedSecret:
    """A secret as it came in, its checksum right, not yet compared with anything."""

    kind: str
    public_id: str
    hash: bytes

    def matches(self, stored_hash: bytes) -> bool:
        return hmac.compare_digest(self.hash, stored_hash)


def new_secret(kind: Kind) -> NewSecret:
    public_id = _random(_ID_LENGTH)
    body = f"ent_{kind}_{public_id}{_encode(secrets.randbits(256), _SECRET_LENGTH)}"
    text = body + _checksum(body)
    return NewSecret(text=SecretText(text), public_id=public_id, hash=hash_secret(text))


def parse_secret(text: str) -> ParsedSecret | None:
    """None when it is not one of ours, or a character was mistyped: no database look-up needed."""
    match = _PATTERN.match(text)
    if match is None or not hmac.compare_digest(match[4], _checksum(text[:-_CHECKSUM_LENGTH])):
        return None
    return ParsedSecret(kind=match[1], public_id=match[2], hash=hash_secret(text))


def looks_like_secret(text: str) -> bool:
    return text.startswith("ent_")


def hash_secret(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _encode(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _checksum(body: str) -> str:
    return _encode(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)
