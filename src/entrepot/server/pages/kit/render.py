"""Templates, and what they can say without being told."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from entrepot.server.config.version import VERSION
from entrepot.server.pages.kit import addresses, words
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.static import asset

__all__ = ["render"]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("entrepot.server.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(
        asset=asset,
        url=addresses,
        version=VERSION,
        plural=words.plural,
        share=words.share,
        no_form=PageForm(),
    )
    made.filters.update(
        size=words.size,
        count=words.count,
        digest=words.digest,
        short=words.short_digest,
        day=words.day,
        figures=words.figures,
        browser=words.browser,
        moment=words.moment,
    )
    return made


def render(template: str, now: int, **context: Any) -> str:
    """The page's text. `when` in it is relative to `now`, microseconds since 1970."""
    return _environment().get_template(template).render(now=now, when=partial(words.when, now=now), **context)
