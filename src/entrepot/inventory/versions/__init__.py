"""Which of two versions is older, and whether a range holds one: as each ecosystem's programs see it."""

from entrepot.inventory.versions.order import compare, is_readable
from entrepot.inventory.versions.ranges import AffectedRange, Verdict, affected

__all__ = ["AffectedRange", "Verdict", "affected", "compare", "is_readable"]
