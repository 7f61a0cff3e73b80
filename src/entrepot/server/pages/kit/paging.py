"""Numbered pages of a list: what is before and after the present one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Pager", "pager"]

MAX_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Pager:
    """Addresses are None where there is no such page."""

    first: int
    """Number of the first item shown, from 1; 0 when there is none."""
    last: int
    total: int
    previous: str | None
    next: str | None


def pager(page: int, size: int, total: int, address: Callable[[int], str]) -> Pager:
    """`page` counts from 1."""
    offset = (page - 1) * size
    return Pager(
        first=min(offset + 1, total),
        last=min(offset + size, total),
        total=total,
        previous=address(page - 1) if page > 1 else None,
        next=address(page + 1) if offset + size < total else None,
    )
