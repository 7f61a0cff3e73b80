"""A README as HTML that can do nothing: CommonMark with tables, then an allow-list.

Raw HTML is not rendered; what Markdown makes passes the sanitizer all the same. Images of other sites are not
loaded (the page's policy), so they become links.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["readme_html"]

_TAGS: Final = frozenset(
    {"a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"}
    | {"s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
)
_ATTRIBUTES: Final[dict[str, set[str]]] = {"a": {"href", "title"}, "ol": {"start"}}


@lru_cache(maxsize=256)
def readme_html(text: str) -> Markup:
    """Headings start one level below the page's own."""
    import nh3

    rendered = _markdown().render(text)
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
