"""A README as HTML that can do nothing: CommonMark with tables, then an allow-list.

Raw HTML is not rendered; what Markdown makes passes the sanitizer all the same. Images of other sites are not
loaded (the page's policy), so they become links.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["readme_html"]

_TAGS: Final = frozenset(
    {"a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"}
    | {"s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
)
MAX_RENDERED: Final = 25_000
"""Characters that are read as Markdown, as many as a README of Docker Hub may have: a parser has texts that
take it quadratic time (100,000 characters of `![a`: 8 s). What follows is shown as it was written."""
_MAX_BRACKETS: Final = 1_000
_MAX_CELLS: Final = 10_000
"""Rows of a table are filled up to the widest one, so that few characters make millions of cells."""
_ATTRIBUTES: Final[dict[str, set[str]]] = {"a": {"href", "title"}, "ol": {"start"}}


@lru_cache(maxsize=256)
def readme_html(text: str) -> Markup:
    """Headings start one level below the page's own. May take a second: not for the event loop."""
    import nh3

    at = len(text) if len(text) <= MAX_RENDERED else text.rfind("\n", 0, MAX_RENDERED) + 1 or MAX_RENDERED
    if _is_costly(text[:at]):
        at = 0
    rendered = _markdown().render(text[:at])
    if text[at:].strip():
        rendered += f"<pre>{escape(text[at:])}</pre>"
    return Markup(  # noqa: S704 - this is what the allow-list lets through
        nh3.clean(
            rendered,
            tags=set(_TAGS),
            attributes=_ATTRIBUTES,
            url_schemes={"http", "https", "mailto"},
            link_rel="noopener noreferrer nofollow",
            strip_comments=True,
        )
    )


def _is_costly(text: str) -> bool:
    lines = text.splitlines()
    cells = max((line.count("|") for line in lines), default=0) * len(lines)
    return text.count("[") > _MAX_BRACKETS or cells > _MAX_CELLS


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
    made.core.ruler.push("pages", _adapt)
    return made


def _adapt(state: Any) -> None:
    for token in state.tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
        if token.type == "inline":
            for child in token.children or ():
                if child.type == "image":
                    child.type, child.tag = "text", ""
                    child.content = f"[image: {child.content or child.attrGet('src')}]"
