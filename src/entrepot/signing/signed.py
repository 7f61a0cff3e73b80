"""What a signature is of: content that is at hand, or only its digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

ALGORITHMS = ("sha256", "sha384", "sha512")


class Signed(Protocol):
    def digest(self, algorithm: str) -> bytes | None:
        """None when it is not known."""
        ...

    def content(self) -> bytes | None:
        """All of it; None when only digests are known."""
        ...


@dataclass(frozen=True, slots=True)
class SignedBytes:
    """Content in memory."""

    raw: bytes

    def digest(self, algorithm: str) -> bytes | None:
        return hashlib.new(algorithm, self.raw).digest()

    def content(self) -> bytes | None:
        return self.raw


@dataclass(frozen=True, slots=True)
class SignedDigests:
    """Content that is elsewhere. Algorithm → digest."""

    digests: Mapping[str, bytes]

    def digest(self, algorithm: str) -> bytes | None:
        return self.digests.get(algorithm)

    def content(self) -> bytes | None:
        return None


@dataclass(slots=True)
class SignedFile:
    """A file, read once for all digests, and once more only for keys that sign content itself."""

    path: Path
    _digests: dict[str, bytes] = field(default_factory=dict)

    def digest(self, algorithm: str) -> bytes | None:
        """Raises OSError."""
        if not self._digests:
            hashers = {name: hashlib.new(name) for name in ALGORITHMS}
            with self.path.open("rb") as file:
                while piece := file.read(1 << 20):
                    for hasher in hashers.values():
                        hasher.update(piece)
            self._digests = {name: hasher.digest() for name, hasher in hashers.items()}
        return self._digests.get(algorithm)

    def content(self) -> bytes | None:
        return self.path.read_bytes()
