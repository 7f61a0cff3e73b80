"""Digests: the names content has by itself (image-spec, descriptor: Digests).

A `Digest` is valid by construction, so it may be used in paths and URLs as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from entrepot.errors import InvalidInput

if TYPE_CHECKING:
    import hashlib

ALGORITHMS: Final = ("sha256", "sha512")
HEX_LENGTHS: Final = {"sha256": 64, "sha512": 128}

_DIGEST: Final = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")
_GRAMMAR: Final = re.compile(r"([A-Za-z0-9]+(?:[.+_-][A-Za-z0-9]+)*):([A-Za-z0-9=_-]+)")


class InvalidDigest(InvalidInput):
    """The text is no digest, or one of an algorithm that is not supported."""

    code = "invalid-digest"


class Digest(msgspec.Struct, frozen=True, order=True):
    """`algorithm:hex`, lower case, of a supported algorithm. Ordered by text, hashable."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(f"{self.algorithm}:{self.hex}"):
            raise _explain(f"{self.algorithm}:{self.hex}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises InvalidDigest, with docker's words."""
        algorithm, _, hexadecimal = text.partition(":")
        return cls(algorithm, hexadecimal)

    @classmethod
    def of(cls, data: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        return cls(algorithm, _new_hash(algorithm, data).hexdigest())

    @property
    def short(self) -> str:
        """The first twelve hex digits, as lists show them."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    def __repr__(self) -> str:
        return f"Digest({self.algorithm}:{self.hex})"


class Hasher:
    """Digest and length of a stream, fed piece by piece."""

    __slots__ = ("_hash", "algorithm", "size")

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self.size = 0
        self._hash = _new_hash(algorithm)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)
        self.size += len(data) if not isinstance(data, memoryview) else data.nbytes

    def digest(self) -> Digest:
        """Of everything fed so far; feeding may go on."""
        return Digest(self.algorithm, self._hash.hexdigest())

    def copy(self) -> Hasher:
        other = Hasher.__new__(Hasher)
        other.algorithm, other.size, other._hash = self.algorithm, self.size, self._hash.copy()
        return other


def _new_hash(algorithm: str, data: bytes | memoryview = b"") -> hashlib._Hash:
    # Here, since loading OpenSSL takes 5 ms, and a command that only looks (`images`, `ps`) hashes nothing.
    import hashlib

    if algorithm == "sha256":
        return hashlib.sha256(data)
    if algorithm == "sha512":
        return hashlib.sha512(data)
    raise InvalidDigest("unsupported digest algorithm", hint=f"supported: {', '.join(ALGORITHMS)}")


def _explain(text: str) -> InvalidDigest:
    found = _GRAMMAR.fullmatch(text)
    hint = "a digest looks like sha256: and 64 lower-case hex digits"
    if found is None:
        return InvalidDigest("invalid checksum digest format", hint=hint)
    algorithm, encoded = found.groups()
    if algorithm not in HEX_LENGTHS:
        return InvalidDigest("unsupported digest algorithm", hint=f"supported: {', '.join(ALGORITHMS)}")
    if len(encoded) != HEX_LENGTHS[algorithm]:
        return InvalidDigest("invalid checksum digest length", hint=hint)
    return InvalidDigest("invalid checksum digest format", hint=hint)
