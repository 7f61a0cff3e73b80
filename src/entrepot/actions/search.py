"""`search`: repositories a registry knows."""

from __future__ import annotations

from collections.abc import Sequence

from entrepot.actions.errors import BadRequest, InvalidFilter
from entrepot.actions.places import the_settings
from entrepot.client.registry import SearchResult, search_registry
from entrepot.client.settings import ClientSettings
from entrepot.oci.reference import DEFAULT_REGISTRY

MAX_RESULTS = 100
DEFAULT_RESULTS = 25


def search(
    term: str,
    *,
    limit: int = DEFAULT_RESULTS,
    filters: Sequence[str] = (),
    settings: ClientSettings | None = None,
    insecure: bool = False,
) -> list[SearchResult]:
    """`term` is a word, with a registry before it when it is not Docker Hub's (`localhost:5000/nginx`).

    `filters`: stars=N, is-official=BOOL, is-automated=BOOL. Raises InvalidFilter, ContentNotFound where the
    registry has no search.
    """
    limit = limit or DEFAULT_RESULTS  # 0 is docker's word for "as many as usual"
    if not 1 <= limit <= MAX_RESULTS:
        raise BadRequest(f"Error: limit {limit} is outside the range of [1, {MAX_RESULTS}]")
    stars, flags = _parse(filters)
    host, word = _split(term)
    registry = search_registry(host, client=the_settings(settings, insecure=insecure))
    try:
        found = registry.search(word, limit=limit)
    finally:
        registry.close()
    return [
        result
        for result in found
        if result.stars >= stars
        and flags.get("is-official", result.official) == result.official
        and flags.get("is-automated", result.automated) == result.automated
    ]


def _split(term: str) -> tuple[str, str]:
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return (DEFAULT_REGISTRY if first == "index.docker.io" else first), rest
    return DEFAULT_REGISTRY, term


def _parse(filters: Sequence[str]) -> tuple[int, dict[str, bool]]:
    stars, flags = 0, {}
    for text in filters:
        key, _, value = text.partition("=")
        if key == "stars" and value.isdigit():
            stars = max(stars, int(value))
        elif key in ("is-official", "is-automated") and value.lower() in ("true", "false"):
            flags[key] = value.lower() == "true"
        else:
            raise InvalidFilter(text if key in ("stars", "is-official", "is-automated") else key)
    return stars, flags
