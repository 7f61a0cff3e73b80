"""Files of advisories into a database: what a file is, its content tells. All work is bounded."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from entrepot.inventory.advisories.advisory import InvalidAdvisories
from entrepot.inventory.advisories.database import FORMAT, AdvisoryDatabase, AdvisoryWriter, is_database
from entrepot.inventory.advisories.distributions import (
    AlpineSecdb,
    DebianTracker,
    alpine_advisories,
    debian_advisories,
    looks_like_tracker,
)
from entrepot.inventory.advisories.exploited import KevCatalog, epss_scores, looks_like_kev
from entrepot.inventory.advisories.osv import OsvRecord, advisory_of, decoder

MAX_RECORD_BYTES = 16 << 20
MAX_DOCUMENT_BYTES = 512 << 20
_MAX_ZIP_ENTRIES = 2_000_000
_MAX_ZIP_BYTES = 32 << 30
_TRACKER = msgspec.json.Decoder(DebianTracker)
_SECDB = msgspec.json.Decoder(AlpineSecdb)
_KEV = msgspec.json.Decoder(KevCatalog)
_RECORDS = msgspec.json.Decoder(list[OsvRecord])


def open_advisories(paths: Sequence[Path], cache: Path) -> AdvisoryDatabase:
    """A database of all the files, made when none of just them is in `cache` yet. The caller closes it.

    A single path to a database is opened as it is. Raises InvalidAdvisories, OSError.
    """
    if len(paths) == 1 and paths[0].is_file() and is_database(paths[0]):
        return AdvisoryDatabase(paths[0])
    stamp = _stamp(paths)
    place = cache / (
        hashlib.sha256("\n".join(str(path.resolve()) for path in paths).encode()).hexdigest()[:32] + ".db"
    )
    if place.exists():
        try:
            known = AdvisoryDatabase(place)
        except InvalidAdvisories:
            pass  # of an earlier format, or damaged: made again
        else:
            if known.stamp == stamp:
                return known
            known.__exit__()
    with AdvisoryWriter(place) as writer:
        for path in paths:
            load(path, writer)
        writer.finish(stamp)
    return AdvisoryDatabase(place)


def _stamp(paths: Sequence[Path]) -> str:
    hasher = hashlib.sha256(f"{FORMAT}".encode())
    for path in paths:
        for file in _files(path):
            status = file.stat()
            hasher.update(f"\n{file}\0{status.st_mtime_ns}\0{status.st_size}".encode())
    return hasher.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(
            file
            for file in path.rglob("*")
            if file.is_file() and file.name.endswith((".json", ".zip", ".csv", ".csv.gz"))
        )
    else:
        yield path


def load(path: Path, writer: AdvisoryWriter) -> None:
    """Everything of a file or folder. Raises InvalidAdvisories for a file that is none, OSError."""
    for file in _files(path):
        _load_file(file, writer)


def _load_file(path: Path, writer: AdvisoryWriter) -> None:
    name = path.name.lower()
    try:
        if name.endswith((".csv", ".csv.gz")):
            _load_epss(path, writer)
        elif zipfile.is_zipfile(path):
            _load_zip(path, writer)
        else:
            if path.stat().st_size > MAX_DOCUMENT_BYTES:
                raise InvalidAdvisories(f"{path} has more than {MAX_DOCUMENT_BYTES} bytes")
            _load_document(path, path.read_bytes(), writer)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
    ) as error:
        raise InvalidAdvisories(f"{path} cannot be read as advisories: {error}") from error


def _load_zip(path: Path, writer: AdvisoryWriter) -> None:
    """OSV's dump of an ecosystem: a record a file."""
    total = 0
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        if len(infos) > _MAX_ZIP_ENTRIES:
            raise InvalidAdvisories(f"{path} has more than {_MAX_ZIP_ENTRIES} records")
        for info in infos:
            if not info.filename.endswith(".json"):
                continue
            with archive.open(info) as stream:
                data = stream.read(MAX_RECORD_BYTES + 1)
            total += len(data)
            if len(data) > MAX_RECORD_BYTES or total > _MAX_ZIP_BYTES:
                raise InvalidAdvisories(f"{path}: {info.filename[:200]} unpacks to more than is read")
            _add(decoder.decode(data), writer)


def _load_document(path: Path, data: bytes, writer: AdvisoryWriter) -> None:
    head = data[:4096].lstrip()
    if head.startswith(b"["):
        for record in _RECORDS.decode(data):
            _add(record, writer)
        return
    shape = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    if "id" in shape and ("modified" in shape or "affected" in shape):
        _add(decoder.decode(data), writer)
    elif "distroversion" in shape and "packages" in shape:
        for advisory in alpine_advisories(_SECDB.decode(data)):
            writer.add(advisory)
    elif "vulnerabilities" in shape and looks_like_kev(msgspec.json.decode(data)):
        writer.add_kev((entry.cve, entry.added) for entry in _KEV.decode(data).vulnerabilities)
    elif shape and looks_like_tracker({"first": msgspec.json.decode(next(iter(shape.values())))}):
        for advisory in debian_advisories(_TRACKER.decode(data)):
            writer.add(advisory)
    else:
        raise InvalidAdvisories(
            f"{path} is in no form that is known",
            hint="OSV records and dumps, Debian's tracker, Alpine's secdb, CISA's KEV and EPSS are read",
        )


def _add(record: OsvRecord, writer: AdvisoryWriter) -> None:
    advisory = advisory_of(record)
    if advisory is not None:
        writer.add(advisory)


def _load_epss(path: Path, writer: AdvisoryWriter) -> None:
    with path.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw
        data = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidAdvisories(f"{path} unpacks to more than {MAX_DOCUMENT_BYTES} bytes")
    writer.add_epss(epss_scores(io.StringIO(data.decode("utf-8", "replace"))))
