"""What retention decides on: a repository's tags, and what its manifests need. Values only.

Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from entrepot.server.policies.model import Kind

__all__ = ["PolicyManifest", "RepositoryFacts", "TagFacts", "kind_of"]


@dataclass(frozen=True, slots=True)
class TagFacts:
    name: str
    digest: str
    pushed_at: int
    """When it was last set to another digest."""
    pulled_at: int | None
    """None: never."""
    kind: Kind = "image"

    @property
    def used_at(self) -> int:
        """A tag that was never pulled counts from its push."""
        return max(self.pushed_at, self.pulled_at or 0)


@dataclass(frozen=True, slots=True)
class PolicyManifest:
    """A manifest without a tag."""

    digest: str
    pushed_at: int
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    name: str
    tags: Sequence[TagFacts]
    untagged: Sequence[PolicyManifest] = ()
    """Those that no tag points to."""
    children: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By index."""
    held: Mapping[str, str] = field(default_factory=dict)
    """Tags and digests that somebody holds, with the reason."""
    is_proxy: bool = False

    @property
    def project(self) -> str:
        return self.name.partition("/")[0]


_INDEXES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
_CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
_CHART = "application/vnd.cncf.helm.config.v1+json"


def kind_of(media_type: str, artifact_type: str | None) -> Kind:
    """`artifact_type`: what the manifest says, else its config's media type."""
    if media_type in _INDEXES:
        return "index"
    if artifact_type == _CHART:
        return "chart"
    return "image" if artifact_type is None or artifact_type in _CONFIGS else "artifact"
