"""What is in a Helm chart: its Chart.yaml, which is its configuration, and the values.yaml of its archive."""

from __future__ import annotations

import io
import tarfile
import zlib
from dataclasses import dataclass
from typing import Any, Final

from entrepot.oci.digest import Digest
from entrepot.server.control.foreign import apart, clean_text, read_object, short_text
from entrepot.server.control.images import MAX_CONFIG_BYTES, read_blob
from entrepot.server.control.queries.content import ManifestRow
from entrepot.server.control.services import Services

__all__ = ["CHART_TYPE", "Chart", "chart_of"]

CHART_TYPE: Final = "application/vnd.cncf.helm.config.v1+json"
_ARCHIVE_TYPE: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
MAX_ARCHIVE_BYTES: Final = 1 << 20
"""Values of larger charts are not shown: Helm keeps an installed chart in a Secret, which holds no more."""
MAX_UNPACKED_BYTES: Final = 8 << 20
MAX_VALUES_BYTES: Final = 256 << 10
MAX_DEPENDENCIES: Final = 100


@dataclass(frozen=True, slots=True)
class Chart:
    """Texts are somebody else's: cut, and without control characters."""

    name: str
    version: str
    rows: list[tuple[str, str]]
    """What else Chart.yaml says, in the order people ask for it."""
    dependencies: list[tuple[str, str, str]]
    """Name, version, repository."""
    values: str
    """The values.yaml; empty when there is none, or the archive is too large or damaged."""


async def chart_of(services: Services, repository: str, manifest: ManifestRow) -> Chart | None:
    """Of a manifest that somebody was shown; None for what is no chart, or has no configuration here."""
    document = await apart(read_object, manifest.body)
    config = _part(document.get("config"))
    if config is None or config[0] != CHART_TYPE:
        return None
    raw = await read_blob(services, repository, config[1], most=MAX_CONFIG_BYTES)
    if raw is None:
        return None
    metadata = await apart(read_object, raw)
    layers = document.get("layers")
    parts = [_part(layer) for layer in (layers if isinstance(layers, list) else [])[:10]]
    archive = next((part[1] for part in parts if part and part[0] == _ARCHIVE_TYPE), None)
    packed = await read_blob(services, repository, archive, most=MAX_ARCHIVE_BYTES) if archive else None
    return Chart(
        name=short_text(metadata.get("name")),
        version=short_text(metadata.get("version")),
        rows=_rows(metadata),
        dependencies=_dependencies(metadata.get("dependencies")),
        values=await apart(values_of, packed) if packed else "",
    )


def values_of(packed: bytes) -> str:
    """The values.yaml of the chart itself, of an archive as Helm makes it; empty when that can't be found.

    What is unpacked is bounded: a small archive may stand for a very large one.
    """
    unpacked = _gunzip(packed)
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for entry in archive:
                if entry.isreg() and entry.name.count("/") == 1 and entry.name.endswith("/values.yaml"):
                    file = archive.extractfile(entry)
                    found = file.read(MAX_VALUES_BYTES + 1) if file else b""
                    text = clean_text(found[:MAX_VALUES_BYTES].decode("utf-8", "replace"))
                    return text + "\n…" if len(found) > MAX_VALUES_BYTES else text
    except (tarfile.TarError, ValueError, OSError, RecursionError):
        return ""
    return ""


def _gunzip(packed: bytes) -> bytes:
    """Its first MAX_UNPACKED_BYTES; empty for what is no gzip."""
    try:
        return zlib.decompressobj(wbits=31).decompress(packed, MAX_UNPACKED_BYTES)
    except zlib.error:
        return b""


def _part(descriptor: Any) -> tuple[str, Digest] | None:
    """Media type and digest of a descriptor. The manifest was checked when it was pushed."""
    if not isinstance(descriptor, dict):
        return None
    kind, digest = descriptor.get("mediaType"), descriptor.get("digest")
    if not isinstance(kind, str) or not isinstance(digest, str):
        return None
    return kind, Digest.parse(digest)


def _rows(metadata: dict[str, Any]) -> list[tuple[str, str]]:
    maintainers = metadata.get("maintainers")
    people = [
        short_text(one.get("name")) for one in (maintainers if isinstance(maintainers, list) else [])[:20]
        if isinstance(one, dict)
    ]  # fmt: skip
    rows = [
        ("Description", short_text(metadata.get("description"))),
        ("App version", short_text(metadata.get("appVersion"))),
        ("Type", short_text(metadata.get("type"))),
        ("Kubernetes", short_text(metadata.get("kubeVersion"))),
        ("Home", short_text(metadata.get("home"))),
        ("Sources", _joined(metadata.get("sources"))),
        ("Keywords", _joined(metadata.get("keywords"))),
        ("Maintainers", ", ".join(name for name in people if name)),
        ("Deprecated", "yes" if metadata.get("deprecated") is True else ""),
    ]
    return [(name, value) for name, value in rows if value]


def _joined(value: Any) -> str:
    return ", ".join(short_text(item) for item in value[:20]) if isinstance(value, list) else ""


def _dependencies(value: Any) -> list[tuple[str, str, str]]:
    return [
        (short_text(one.get("name")), short_text(one.get("version")), short_text(one.get("repository")))
        for one in (value if isinstance(value, list) else [])[:MAX_DEPENDENCIES]
        if isinstance(one, dict)
    ]
