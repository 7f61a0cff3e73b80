"""The catalog with a watch over its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Final, TypeVar, cast

from sqlalchemy import Connection

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.statements import HotQuery
from entrepot.server.telemetry.watch import NewHistogram, Watch

__all__ = ["CATALOG_SECONDS", "observed_catalog"]

CATALOG_SECONDS: Final = "entrepot_catalog_seconds"
T = TypeVar("T")


def observed_catalog(inner: Catalog, histogram: NewHistogram, *, slow_s: float) -> Catalog:
    """`inner`, watched. Calls slower than `slow_s` seconds are logged; 0: none."""
    seconds = histogram(CATALOG_SECONDS, "Time of calls to the database, waiting included.", ("call",))
    return cast("Catalog", _Observed(inner, Watch("catalog", "slow query", seconds, slow_s)))


class _Observed:
    """See Catalog."""

    def __init__(self, inner: Catalog, watch: Watch) -> None:
        self.inner = inner
        self._watch = watch
        if inner.dialect == "sqlite":
            self.hot = inner.hot  # type: ignore[method-assign]  # one call less, thirty thousand times a second

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def write(
        self,
        fn: Callable[Concatenate[Connection, ...], T],
        /,
        *args: Any,
        durable: bool = True,
        brief: bool = False,
    ) -> T:
        with self._watch.over("write", _name(fn)):
            return await self.inner.write(fn, *args, durable=durable, brief=brief)

    async def read(self, fn: Callable[Concatenate[Connection, ...], T], /, *args: Any) -> T:
        with self._watch.over("read", _name(fn)):
            return await self.inner.read(fn, *args)

    async def hot(self, query: HotQuery, /, **params: Any) -> list[tuple[Any, ...]]:
        with self._watch.over("hot", "point query"):
            return await self.inner.hot(query, **params)


def _name(fn: Callable[..., Any]) -> str:
    inner = getattr(fn, "func", fn)
    return str(getattr(inner, "__qualname__", type(inner).__name__))
