"""`python -m bench.collect URL [--dry-run]`: one run of garbage collection in a process of its own.

Prints its seconds and its report as JSON. A dry run is told of every single thing, as `entrepot admin gc` is.
"""

import argparse
import asyncio
import json
import time
from typing import Any

from entrepot.server.db import open_catalog
from entrepot.server.upkeep.collection.collect import GcSettings, collect
from entrepot.server.upkeep.collection.report import Removal


async def run(url: str, *, dry_run: bool) -> dict[str, Any]:
    """The seconds that a run took, and its report."""
    catalog = open_catalog(url)
    told: list[Removal] = []
    began = time.perf_counter()
    report = await collect(
        catalog, GcSettings(), dry_run=dry_run, on_removal=told.append if dry_run else None
    )
    took = time.perf_counter() - began
    await catalog.close()
    return {"seconds": took, **report.to_json()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.collect", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--dry-run", action="store_true")
    asked = parser.parse_args()
    print(json.dumps(asyncio.run(run(asked.url, dry_run=asked.dry_run))))
