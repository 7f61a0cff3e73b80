"""Java archives: what Maven left in them, else what manifest or file name say; archives in archives.

Work is bounded: entries, bytes unpacked and depth are counted over a file and all that is nested in it.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator

from entrepot.inventory.packages.fields import as_text, fields
from entrepot.inventory.packages.package import (
    Ecosystem,
    Evidence,
    EvidenceTooLarge,
    InvalidEvidence,
    Package,
)

SUFFIXES = (".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".lpkg")
_POM = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.properties")
_FILE_NAME = re.compile(r"(?P<name>.+?)(?:-(?P<version>[0-9][^/]*|r[0-9]+(?:-jre|-android)?))?")
_MAX_DEPTH = 5
_MAX_ENTRIES = 400_000
_MAX_BYTES = 1 << 30
_MAX_INNER_BYTES = 256 << 20
"""An archive in an archive is held in memory while it is read, one for each level."""
_MAX_TEXT_BYTES = 1 << 20
_READ_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, OSError,
    ValueError, LookupError, OverflowError,
)  # fmt: skip
"""What `zipfile` raises on damaged and encrypted archives."""


class _Budget:
    def __init__(self) -> None:
        self.entries = _MAX_ENTRIES
        self.bytes = _MAX_BYTES

    def take(self, *, entries: int = 0, size: int = 0) -> None:
        self.entries -= entries
        self.bytes -= size
        if self.entries < 0 or self.bytes < 0:
            raise EvidenceTooLarge("the archive has or unpacks to more than is looked through")


def read_archive(path: str, data: bytes | bytearray) -> Evidence:
    """Raises InvalidEvidence, EvidenceTooLarge."""
    found: dict[tuple[str, ...], Package] = {}
    for package in _archive(path, data, _Budget(), 0):
        found.setdefault(package.key, package)
    return Evidence(tuple(found.values()))


def _archive(path: str, data: bytes | bytearray, budget: _Budget, depth: int) -> Iterator[Package]:
    budget.take(entries=_entry_count(data))
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _READ_ERRORS as error:
        raise InvalidEvidence(f"no archive: {error}") from error
    with archive:
        infos = archive.infolist()
        poms = [
            pom
            for info in infos
            if _POM.fullmatch(info.filename)
            and (pom := _maven(_read(archive, info, budget, _MAX_TEXT_BYTES))) is not None
        ]
        manifest_info = next(
            (info for info in infos if info.filename.upper() == "META-INF/MANIFEST.MF"), None
        )
        manifest = (
            fields(_unfolded(as_text(_read(archive, manifest_info, budget, _MAX_TEXT_BYTES))).strip())
            if manifest_info
            else {}
        )
        yield from poms
        own = _own(path, poms, manifest)
        if own is not None:
            yield own
        for info in infos:
            if info.filename.lower().endswith(SUFFIXES) and not info.is_dir():
                if depth >= _MAX_DEPTH:
                    raise EvidenceTooLarge(f"archives nested deeper than {_MAX_DEPTH}")
                inner = _read(archive, info, budget, _MAX_INNER_BYTES)
                try:
                    yield from _archive(info.filename, inner, budget, depth + 1)
                except InvalidEvidence:
                    continue  # a file of that name which is no archive hides nothing


def _entry_count(data: bytes | bytearray) -> int:
    """What the end record promises, before `zipfile` builds an object for each."""
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if at < 0 or at + 22 > len(data):
        raise InvalidEvidence("no archive: its directory is missing")
    (size,) = struct.unpack_from("<I", data, at + 12)
    if size == 0xFFFFFFFF:
        size = len(data)
    return int(size) // 46  # bytes of the smallest entry


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: _Budget, max_bytes: int) -> bytes:
    try:
        with archive.open(info) as stream:
            parts = []
            size = 0
            while chunk := stream.read(1 << 18):
                budget.take(size=len(chunk))
                size += len(chunk)
                if size > max_bytes:
                    raise EvidenceTooLarge(f"{info.filename[:200]} in it is larger than {max_bytes} bytes")
                parts.append(chunk)
            return b"".join(parts)
    except _READ_ERRORS as error:
        raise InvalidEvidence(f"the archive is damaged: {error}") from error


def _unfolded(text: str) -> str:
    """A manifest's long lines go on after a newline and a space."""
    return text.replace("\r\n", "\n").replace("\n ", "")


def _maven(data: bytes) -> Package | None:
    said: dict[str, str] = {}
    for line in as_text(data).splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            said[key.strip()] = value.strip()
    name, version = said.get("artifactId", ""), said.get("version", "")
    if not name or not version or "${" in name + version:
        return None
    return Package(Ecosystem.MAVEN, name, version, group=said.get("groupId", ""))


def _own(path: str, poms: list[Package], manifest: dict[str, str]) -> Package | None:
    """The archive itself, when no pom in it is the one of its file name."""
    base = path.rpartition("/")[2].rpartition(".")[0]
    if any(base == pom.name or base.startswith(f"{pom.name}-") for pom in poms):
        return None
    named = _FILE_NAME.fullmatch(base)
    name = (named["name"] if named else "") or manifest.get("implementation-title", "")
    symbolic = manifest.get("bundle-symbolicname", "").partition(";")[0].strip()
    version = (
        (named["version"] if named else "")
        or manifest.get("implementation-version", "")
        or manifest.get("bundle-version", "")
        or manifest.get("specification-version", "")
    )
    if not name or not version:
        return None
    return Package(Ecosystem.MAVEN, name, version, group=_group(name, symbolic, manifest))


def _group(name: str, symbolic: str, manifest: dict[str, str]) -> str:
    vendor = manifest.get("implementation-vendor-id", "")
    if "." in vendor and " " not in vendor:
        return vendor
    if symbolic.endswith(f".{name}"):
        return symbolic[: -len(name) - 1]
    if symbolic.count("."):
        return (
            symbolic.rpartition(".")[0] if symbolic.rpartition(".")[2].replace("-", "") in name else symbolic
        )
    return ""
