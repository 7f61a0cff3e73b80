"""An advisory as it is kept, whatever form it came in."""

from __future__ import annotations

import re
from enum import IntEnum

from msgspec import Struct

from entrepot.errors import InvalidInput
from entrepot.inventory.versions.ranges import AffectedRange

_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")


class Severity(IntEnum):
    """How bad it is, the worst highest. UNKNOWN is no lowest: nobody has said yet."""

    UNKNOWN = 0
    NEGLIGIBLE = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    @property
    def word(self) -> str:
        return self.name.lower()


class AffectedPackage(Struct, frozen=True):
    """What an advisory says of one package."""

    ecosystem: str
    """As `ecosystems` writes it: `PyPI`, `Debian:12`, `Alpine:v3.20`."""
    name: str
    ranges: tuple[AffectedRange, ...]
    """It is affected when one of them has its version."""
    fixed: tuple[str, ...] = ()
    note: str = ""
    """The distribution's own word: `no-dsa`, `unimportant`, `undetermined`."""


class Advisory(Struct, frozen=True):
    """One record."""

    id: str
    packages: tuple[AffectedPackage, ...]
    aliases: tuple[str, ...] = ()
    summary: str = ""
    severity: Severity = Severity.UNKNOWN
    score: float | None = None
    """CVSS base score."""

    @property
    def cves(self) -> tuple[str, ...]:
        """Of its name and aliases, each once."""
        return tuple(dict.fromkeys(_CVE.findall(" ".join((self.id, *self.aliases)))))

    @property
    def name(self) -> str:
        """The CVE when it is about one, so that several databases' records of it are one; else its own."""
        return self.cves[0] if len(self.cves) == 1 else self.id


class InvalidAdvisories(InvalidInput):
    """A file that was given as advisories and is none that can be read."""

    code = "invalid-advisories"


def severity_of_score(score: float) -> Severity:
    """CVSS: qualitative severity rating scale."""
    for least, severity in (
        (9.0, Severity.CRITICAL),
        (7.0, Severity.HIGH),
        (4.0, Severity.MEDIUM),
        (0.1, Severity.LOW),
    ):
        if score >= least:
            return severity
    return Severity.NEGLIGIBLE


_WORDS = {"moderate": Severity.MEDIUM, "important": Severity.HIGH, "unimportant": Severity.NEGLIGIBLE} | {
    severity.word: severity for severity in Severity
}


def severity_of_word(word: object) -> Severity:
    """Of GitHub's, Red Hat's and Debian's words; UNKNOWN for others."""
    text = word.lower().rstrip("*") if isinstance(word, str) else ""
    return _WORDS.get(text, Severity.UNKNOWN)
