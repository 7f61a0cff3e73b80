"""`entrepot worker`: background work alone, on a machine that answers no requests."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--config", metavar="FILE", envvar="ENTREPOT_CONFIG", help="Settings, as TOML.")
@click.option("--data", metavar="DIR", help="Where the data is kept.  [default: ./entrepot-data]")
def worker(config: str | None, data: str | None) -> None:
    """Do a registry's background work: garbage collection, scrub, deliveries.

    `entrepot serve` has such a process of its own, unless `server.jobs` is off. Any number may run; each
    job is done by one of them.
    """
    from entrepot.observability.logs import configure_logs
    from entrepot.server.compose import worker_mode
    from entrepot.server.config import load
    from entrepot.server.process.data_directory import make_data_directory
    from entrepot.server.process.jobs_process import run_jobs

    overrides: dict[str, Any] = {} if data is None else {"server.data": data}
    settings = load(config, overrides=overrides)
    chosen = settings.log.format
    as_json = chosen == "json" or (chosen == "auto" and not sys.stderr.isatty())
    configure_logs(level=settings.log.level, log_format="json" if as_json else "plain")
    mode = asyncio.run(worker_mode(settings))
    make_data_directory(settings.server.data)
    lifeline, _kept_open = os.pipe()  # nobody watches over this process
    with tempfile.TemporaryDirectory(prefix="entrepot-") as scratch:
        code = run_jobs(settings, mode, lifeline, Path(scratch), role="worker")
    sys.exit(code)
