"""Sizes, times, digests and counts as people read them, with the exact value beside. Pure.

Each returns markup: the short form is what is read, the exact one is the element's title.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup, escape

from entrepot.wording import human_size

__all__ = [
    "browser",
    "count",
    "day",
    "digest",
    "figures",
    "human_size",
    "moment",
    "plural",
    "relative",
    "share",
    "short_digest",
    "size",
    "when",
]

SECOND: Final = 1_000_000
_STEPS: Final = (
    (60, 1, "second"),
    (3_600, 60, "minute"),
    (86_400, 3_600, "hour"),
    (30 * 86_400, 86_400, "day"),
    (365 * 86_400, 30 * 86_400, "month"),
    (None, 365 * 86_400, "year"),
)


def size(number: int | None) -> Markup:
    """A size in bytes."""
    if number is None:
        return Markup('<span class="none">–</span>')
    return Markup('<data value="{}" title="{:,} bytes">{}</data>').format(number, number, human_size(number))


def count(number: int) -> Markup:
    """A whole number with its thousands apart."""
    return Markup('<data value="{}">{}</data>').format(number, f"{number:,}".replace(",", "\u202f"))


def plural(number: int, one: str, many: str = "") -> str:
    """`1 tag`, `2 tags`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}".replace(",", "\u202f")


def relative(moment: int, now: int) -> str:
    """`3 hours ago`, `in 2 days`; both in microseconds since 1970."""
    seconds = (now - moment) // SECOND
    if -45 < seconds < 45:
        return "just now"
    apart = abs(seconds)
    for limit, unit, name in _STEPS:
        if limit is None or apart < limit:
            text = plural(max(1, apart // unit), name)
            return f"{text} ago" if seconds > 0 else f"in {text}"
    raise AssertionError


def when(moment: int | None, now: int) -> Markup:
    """A time relative to now, the exact one as its title."""
    if moment is None:
        return Markup('<span class="none">never</span>')
    exact = datetime.fromtimestamp(moment // SECOND, UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        exact.strftime("%Y-%m-%dT%H:%M:%SZ"), exact.strftime("%Y-%m-%d %H:%M:%S UTC"), relative(moment, now)
    )


_YEAR_10000: Final = 253_402_300_800


def moment(text: str) -> int | None:
    """Microseconds since 1970 of an RFC 3339 time; None when it is none, or of before."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    seconds = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    return int(seconds) * SECOND if 0 < seconds < _YEAR_10000 else None


def day(moment: int) -> str:
    """`2026-10-01`, as a date field wants it."""
    return datetime.fromtimestamp(moment // SECOND, UTC).strftime("%Y-%m-%d")


def short_digest(text: str) -> str:
    """The first twelve digits, as docker shows an image's ID."""
    return text.partition(":")[2][:12] or text[:12]


def digest(text: str | None) -> Markup:
    """A digest, short; whole in its title."""
    if not text:
        return Markup('<span class="none">–</span>')
    return Markup('<code class="digest" title="{}">{}</code>').format(text, short_digest(text))


def share(part: int, whole: int) -> str:
    """A percentage for an SVG attribute, `37.5%`."""
    return f"{100 * part / whole:.2f}%" if whole > 0 else "0%"


def figures(text: str | None) -> str:
    """A JSON object in words, without what is nothing: `removed 3, bytes freed 1.20 MB`.

    What ends in `_at` is a time, in microseconds since 1970.
    """
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return ""
    flat: list[str] = []
    for key, value in found.items() if isinstance(found, dict) else ():
        name = str(key).replace("_", " ")
        if isinstance(value, dict):
            flat += [f"{name} {inner} {number}" for inner, number in value.items() if number]
        elif isinstance(value, bool) or not value:
            continue
        elif isinstance(value, int) and str(key).endswith("_at"):
            flat.append(f"{name} {datetime.fromtimestamp(value // SECOND, UTC):%Y-%m-%d %H:%M} UTC")
        elif isinstance(value, int) and "bytes" in name:
            flat.append(f"{name} {human_size(value)}")
        else:
            flat.append(f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return ", ".join(flat)[:300]


_BROWSERS: Final = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
_SYSTEMS: Final = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "CrOS", "Linux")
_CALLED: Final = {"Edg": "Edge", "OPR": "Opera", "Mac OS X": "macOS", "CrOS": "ChromeOS"}


def browser(agent: str | None) -> str:
    """What a browser calls itself, in words: `Firefox on Linux`."""
    if not agent:
        return "unknown"
    program = next((name for name in _BROWSERS if f"{name}/" in agent), "")
    system = next((name for name in _SYSTEMS if name in agent), "")
    if not program:
        return agent.partition(" ")[0][:40]
    return " on ".join(_CALLED.get(name, name) for name in (program, system) if name)


def lines(text: str) -> Markup:
    """Text with its line breaks."""
    return Markup("<br>").join(escape(line) for line in text.splitlines())
