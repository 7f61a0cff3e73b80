"""Fuzz targets: one property, tried on drawn inputs, a few in every run and very many in `make soak`.

    @fuzz(text=st.text())
    def test_a_parser_raises_nothing_but_its_own_error(text: str) -> None: ...

That makes two tests of it: `[short]`, the same examples each time, so that a failure is the code's and never
the draw's; and `[long]`, marked `soak`, which draws anew in every run and prints how to repeat a failure.
`@example(text=…)` below `@fuzz` adds inputs that are always tried. A target takes no fixtures: what it needs
(a server, a folder) it makes once, outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["fuzz"]

SHORT = 200
LONG = 50_000
LONG_TIMEOUT_S = 3600


def fuzz(
    *, short: int = SHORT, long: int = LONG, **strategies: SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a target of a function whose arguments are drawn from `strategies`.

    `short` and `long` are numbers of examples; lower them where one example takes more than a millisecond.
    """

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        @pytest.mark.parametrize(
            "examples",
            [
                pytest.param(short, id="short"),
                pytest.param(long, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(LONG_TIMEOUT_S)]),
            ],
        )
        def target(examples: int) -> None:
            effort = settings(
                max_examples=examples,
                derandomize=examples == short,
                print_blob=True,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            )
            effort(given(**strategies)(check))()

        target.__name__ = check.__name__
        target.__qualname__ = check.__qualname__
        target.__module__ = check.__module__
        target.__doc__ = check.__doc__
        return target

    return decorate
