"""Which tags stay what they are. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from entrepot.server.policies.model import Immutable, Kind

__all__ = ["immutable_by", "told"]


def immutable_by(
    rules: Sequence[Immutable], repository: str, tag: str, kind: Kind = "image", *, by_retention: bool = False
) -> Immutable | None:
    """The first rule that keeps the tag; None: it may change. `by_retention`: rules that let retention
    delete it don't count.
    """
    for rule in rules:
        if by_retention and rule.delete == "by-retention":
            continue
        if repository in rule.repositories and rule.tags.chooses(tag, kind):
            return rule
    return None


def told(rule: Immutable) -> str:
    """`immutable 1 (tags "v*" except "v0.*")`."""
    without = f" except {rule.tags.without}" if rule.tags.without else ""
    return f"{rule.label} (tags {rule.tags.names}{without})"
