"""What a manifest is: an image, a chart, a signature …; and what is in one that is no image. Pure.

By what it says of itself: `artifactType`, or the config's media type, or those of its layers, as the
specification's guidance for artifacts has it. Nothing of it is believed: it decides only what a page shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from entrepot.server.control.charts import CHART_TYPE
from entrepot.server.control.foreign import read_object, short_text

__all__ = ["ArtifactFile", "ArtifactView", "artifact_view", "kind_of_referrer"]

MAX_SHOWN: Final = 200
_TITLE: Final = "org.opencontainers.image.title"
_IMAGES: Final = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.container.image.rootfs.diff+x-gtar",
    }
)
_KINDS: Final = (
    ("cosign.artifact.sig", "Signature (cosign)"),
    ("cosign.simplesigning", "Signature (cosign)"),
    ("sigstore.bundle", "Signature (Sigstore bundle)"),
    ("notary.signature", "Signature (Notation)"),
    ("spdx", "SBOM (SPDX)"),
    ("cyclonedx", "SBOM (CycloneDX)"),
    ("syft", "SBOM (Syft)"),
    ("in-toto", "Attestation (in-toto)"),
    ("slsa", "Attestation (SLSA)"),
    ("dsse.envelope", "Attestation (DSSE)"),
    ("sarif", "Scan report (SARIF)"),
    ("wasm", "WebAssembly module"),
)


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    title: str
    """Empty when its layer has none."""
    media_type: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class ArtifactView:
    """Of what is no image."""

    kind: str
    """What people call it."""
    is_chart: bool
    artifact_type: str
    files: list[ArtifactFile]
    annotations: list[tuple[str, str]]
    subject: str
    """Digest of the manifest that it is about; empty for none."""


def kind_of_referrer(artifact_type: str) -> str:
    """What people call such a thing; empty when that is not known."""
    lowered = artifact_type.lower()
    return next((words for part, words in _KINDS if part in lowered), "")


def artifact_view(body: bytes) -> ArtifactView | None:
    """None for an image, an index, and what can't be read."""
    document = read_object(body)
    layers = [layer for layer in _list(document.get("layers")) if isinstance(layer, dict)]
    config = document.get("config")
    config_type = short_text(config.get("mediaType")) if isinstance(config, dict) else ""
    said = short_text(document.get("artifactType")) or config_type
    types = [short_text(layer.get("mediaType")) for layer in layers]
    by_layers = next((words for words in map(kind_of_referrer, types) if words), "")
    if "manifests" in document or not (said or layers):
        return None
    if said in _IMAGES and not by_layers:
        return None
    is_chart = config_type == CHART_TYPE
    subject = document.get("subject")
    return ArtifactView(
        kind="Helm chart" if is_chart else kind_of_referrer(said) or by_layers or "Artifact",
        is_chart=is_chart,
        artifact_type=said,
        files=[_file(layer) for layer in layers[:MAX_SHOWN]],
        annotations=_annotations(document.get("annotations")),
        subject=short_text(subject.get("digest")) if isinstance(subject, dict) else "",
    )


def _file(layer: dict[str, Any]) -> ArtifactFile:
    notes, size = layer.get("annotations"), layer.get("size")
    return ArtifactFile(
        title=short_text(notes.get(_TITLE)) if isinstance(notes, dict) else "",
        media_type=short_text(layer.get("mediaType")),
        size=size if isinstance(size, int) and size >= 0 else 0,
        digest=short_text(layer.get("digest")),
    )


def _annotations(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return []
    return [(short_text(k), short_text(v)) for k, v in sorted(value.items(), key=str)[:MAX_SHOWN]]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
