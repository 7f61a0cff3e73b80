"""Path segments into strict types, and the cost of it kept away from repeated requests."""

from __future__ import annotations

from functools import lru_cache

from entrepot.oci.digest import Digest
from entrepot.oci.reference import InvalidRepositoryName, RepositoryName, TagName, parse_repository, parse_tag

RESERVED_FIRST = ("_catalog",)


@lru_cache(maxsize=4096)
def repository(text: str) -> RepositoryName:
    """Raises InvalidRepositoryName."""
    return parse_repository(text)


def is_repository(text: str) -> bool:
    try:
        repository(text)
    except InvalidRepositoryName:
        return False
    return True


@lru_cache(maxsize=4096)
def digest(text: str) -> Digest:
    """Of a raw path segment or parameter; the colon may be percent-encoded. Raises InvalidDigest."""
    return Digest.parse(text.replace("%3A", ":").replace("%3a", ":"))


def reference(text: str) -> TagName | Digest:
    """Raises InvalidDigest or InvalidTag."""
    if ":" in text or "%3" in text:
        return digest(text)
    return parse_tag(text)


__all__ = ["InvalidRepositoryName", "digest", "is_repository", "reference", "repository"]
