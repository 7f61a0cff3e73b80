"""`python -m bench [FIGURE …] [--rounds N] [--list]`: measure and print a table."""

import argparse
import importlib
import importlib.util
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.frame import Bench, Figure, as_markdown

MODULES = (
    "bench.registry",
    "bench.tool",
    "bench.containers",
    "bench.accounts",
    "bench.cluster",
    "bench.movement",
    "bench.pull_through",
    "bench.inventory",
)


def figures() -> dict[str, Figure]:
    """Every figure by its name; a module that is not there has none."""
    found: dict[str, Figure] = {}
    for name in MODULES:
        if importlib.util.find_spec(name) is not None:
            found |= importlib.import_module(name).FIGURES
    return found


def main() -> int:
    """Run the named figures, all when none is named."""
    known = figures()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figure", nargs="*", help=", ".join(known))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--list", action="store_true", help="print the names of the figures")
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(known))
        return 0
    if unknown := [name for name in asked.figure if name not in known]:
        parser.error(f"no figure {', '.join(unknown)}; there are: {', '.join(known)}")
    rows = []
    for name in asked.figure or known:
        with tempfile.TemporaryDirectory(prefix="entrepot-bench-") as folder, ExitStack() as closing:
            for row in known[name](Bench(Path(folder), asked.rounds, closing)):
                rows.append(row)
                print(as_markdown([row]).splitlines()[-1], file=sys.stderr, flush=True)
    print(as_markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
