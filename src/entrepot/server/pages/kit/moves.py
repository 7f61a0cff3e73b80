"""What happened to tags, folded so that one push is one line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from entrepot.server.control.repositories import Move

__all__ = ["fold_moves"]

_TOGETHER: Final = 3_600 * 1_000_000


def fold_moves(moves: Sequence[tuple[int, Move]]) -> list[tuple[Move, int]]:
    """Each with how many that follow it belong to it: by the same person, in the same repository and hour."""
    folded: list[tuple[Move, int]] = []
    for _seq, move in moves:
        if folded and _belongs(move, folded[-1][0]):
            folded[-1] = (folded[-1][0], folded[-1][1] + 1)
        else:
            folded.append((move, 0))
    return folded


def _belongs(move: Move, first: Move) -> bool:
    return (
        (move.by, move.repository) == (first.by, first.repository)
        and (move.new is None, move.restored) == (first.new is None, first.restored)
        and first.at - move.at < _TOGETHER
    )
