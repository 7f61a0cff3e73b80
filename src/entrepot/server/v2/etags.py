"""Conditional requests: entity tags are digests, quoted as HTTP wants them or bare as some clients send
them."""

from __future__ import annotations

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.server.http.request import HttpRequest


def matches_none(header: bytes, digest: bytes) -> bool:
    """Whether `If-None-Match` names `digest` (304 is the answer then). Pure."""
    return any(
        tag in (digest, b"*")
        for tag in (piece.strip().removeprefix(b"W/").strip(b'"') for piece in header.split(b","))
    )


def parse_if_match(request: HttpRequest) -> tuple[list[str] | None, bool]:
    """(digests one of which the tag must have now, or `*`; whether it must not exist yet) of a manifest PUT.

    Raises InvalidInput on what cannot be met.
    """
    none_match = request.header(b"if-none-match")
    if none_match is not None and none_match.strip('"') != "*":
        raise InvalidInput("If-None-Match on a push can only be *: the tag must not exist yet")
    match = request.header(b"if-match")
    if match is None:
        return None, none_match is not None
    tags = [piece.strip().removeprefix("W/").strip('"') for piece in match.split(",")]
    return [tag if tag == "*" else str(Digest.parse(tag)) for tag in tags], none_match is not None
