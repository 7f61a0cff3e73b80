"""What a figure is, how rounds alternate, and how results are printed.

A figure measures entrepot and a peer in alternating rounds on the same machine, so that both meet the same
noise; the median of each side makes the ratio.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One measured line. `peer` is empty where the bar is absolute; values are in `unit`, one a round."""

    figure: str
    unit: str
    ours: Sequence[float]
    peer: Sequence[float] = ()
    peer_name: str = "docker-registry"
    bar: str = ""
    """The bar in words, as `≥ 4×` or `≤ 1.5 s`."""

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's, medians."""
        if not self.peer:
            return None
        theirs = statistics.median(self.peer)
        return statistics.median(self.ours) / theirs if theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        if not self.bar:
            return None
        relation, number = self.bar[0], float(self.bar[1:].split()[0].rstrip("×"))
        value = self.ratio if self.bar.rstrip().endswith("×") else statistics.median(self.ours)
        assert value is not None
        return value >= number if relation == "≥" else value <= number


@dataclass(slots=True)
class Bench:
    """What a figure works with: a scratch folder, the number of rounds, and what it must close."""

    folder: Path
    rounds: int
    closing: ExitStack = field(default_factory=ExitStack)

    def alternating(self, *sides: Callable[[], float]) -> list[list[float]]:
        """Call every side once a round, in turn; the values of each side."""
        values: list[list[float]] = [[] for _ in sides]
        for _ in range(self.rounds):
            for side, found in zip(sides, values, strict=True):
                found.append(side())
        return values


Figure = Callable[[Bench], Iterator[Row]]


def show(value: float) -> str:
    """A number with three meaningful digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _values(values: Sequence[float], unit: str) -> str:
    return f"{show(statistics.median(values))} {unit} ({', '.join(map(show, values))})"


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table: medians, every round's values in brackets, ratio, bar, met or missed."""
    lines = ["| figure | ours | peer | ratio | bar | |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        ours = _values(row.ours, row.unit)
        peer = f"{_values(row.peer, row.unit)} {row.peer_name}" if row.peer else ""
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
        verdict = {None: "", True: "met", False: "**missed**"}[row.met]
        lines.append(f"| {row.figure} | {ours} | {peer} | {ratio} | {row.bar} | {verdict} |")
    return "\n".join(lines)
