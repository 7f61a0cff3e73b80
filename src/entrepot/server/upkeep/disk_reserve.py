"""Keeps a little disk space in reserve, so that a full disk can still be tidied up."""

from __future__ import annotations

import asyncio
from typing import Final

from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.storage.driver import KeepsReserve

__all__ = ["keep_reserve"]

log = get_log(__name__)

CHECK_S: Final = 2.0


async def keep_reserve(disk: KeepsReserve, stop: asyncio.Event) -> None:
    """Give the reserve back when something has filled the disk, and take it again afterwards."""
    was_full = False
    while not stop.is_set():
        try:
            change = await disk.keep_reserve_file()
        except EntrepotError as error:
            log.warning("disk reserve not kept", reason=error.message)
        else:
            if change == "given back":
                log.warning("disk reserve", change=change)
                was_full = True
            elif change is not None:
                if was_full:  # at the first start it is nothing to tell of
                    log.info("disk reserve", change=change)
                was_full = False
        try:
            await asyncio.wait_for(stop.wait(), CHECK_S)
        except TimeoutError:
            continue
