"""Globs and regular expressions over names, checked when they are written down. Pure.

A glob has `*` (within a component), `**`, `?`, `[a-z]`, `{a,b}`; one that begins with `!` takes out again
what the others of its list choose. A text between slashes, `/v[0-9]+/`, is a regular expression; it has to
fit the whole name. Both are RE2's in the end, which takes time in proportion to the name, whatever the author
wrote: they are asked within transactions of pushes. (wcmatch backtracks: eight `**/a/` take minutes.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["EVERYTHING", "MOST_PATTERNS", "Names", "parse_names"]

LONGEST: Final = 255
MOST_PATTERNS: Final = 50
MOST_EXPANDED: Final = 100
"""What braces may stand for."""
_CLOSES: Final = {"[": "]", "{": "}"}
Match = Callable[[str], bool]


@dataclass(frozen=True)
class Names:
    """Those that a list of patterns chooses."""

    texts: tuple[str, ...]
    _chosen: tuple[Match, ...] = field(repr=False, compare=False, default=())
    _without: tuple[Match, ...] = field(repr=False, compare=False, default=())

    def __contains__(self, name: str) -> bool:
        return any(fits(name) for fits in self._chosen) and not any(fits(name) for fits in self._without)

    def __str__(self) -> str:
        return ", ".join(f'"{text}"' for text in self.texts)


def parse_names(texts: Sequence[str]) -> Names:
    """Raises ValueError with a sentence that says which pattern is wrong, and where in it."""
    if not texts:
        raise ValueError("names no pattern")
    if len(texts) > MOST_PATTERNS:
        raise ValueError(f"has {len(texts)} patterns; at most {MOST_PATTERNS}")
    chosen, without = [], []
    for text in texts:
        if text.startswith("!"):
            without.append(_compile(text, text[1:], skipped=1))
        else:
            chosen.append(_compile(text, text))
    # A list that only takes out takes it out of everything.
    return Names(tuple(texts), tuple(chosen) or (_everything,), tuple(without))


def _everything(name: str) -> bool:  # noqa: ARG001 - a Match
    return True


EVERYTHING: Final = Names(("**",), (_everything,), ())


def _compile(text: str, pattern: str, *, skipped: int = 0) -> Match:
    if not pattern:
        raise ValueError(f"has the empty pattern {text!r}" if text else "has an empty pattern")
    if len(pattern) > LONGEST:
        raise ValueError(f"has a pattern of {len(pattern)} characters; at most {LONGEST}")
    if len(pattern) > 1 and pattern.startswith("/"):
        if not pattern.endswith("/") or len(pattern) == 2:
            raise ValueError(f"has {text!r}: a regular expression stands between slashes, as /v[0-9]+/")
        return _expression(text, pattern[1:-1])
    if pattern in {"**", "**/*"}:
        return _everything
    _check_brackets(text, pattern, skipped)
    return _glob(pattern)


def _check_brackets(text: str, pattern: str, skipped: int) -> None:
    """Others read a bracket without its partner as itself, and so choose nothing without a word."""
    waiting: list[tuple[str, int]] = []
    escaped = False
    for at, letter in enumerate(pattern, start=1 + skipped):
        if escaped:
            escaped = False
            continue
        escaped = letter == "\\"
        if waiting and waiting[-1][0] == "[":
            if letter == "]":
                waiting.pop()
        elif letter in _CLOSES:
            waiting.append((letter, at))
        elif letter in _CLOSES.values():
            if not waiting or _CLOSES[waiting[-1][0]] != letter:
                raise ValueError(
                    f"has the glob {text!r} with a {letter} at character {at} that closes nothing"
                )
            waiting.pop()
    if escaped:
        raise ValueError(f"has the glob {text!r}, which ends with a backslash")
    if waiting:
        letter, at = waiting[-1]
        raise ValueError(
            f"has the glob {text!r} with a {letter} at character {at} that no {_CLOSES[letter]} closes"
        )


@functools.lru_cache(maxsize=1024)
def _glob(pattern: str) -> Match:
    import bracex

    try:
        globs = bracex.expand(pattern, keep_escapes=True, limit=MOST_EXPANDED)
    except (bracex.ExpansionLimitException, ValueError) as error:
        raise ValueError(f"has the glob {pattern!r}: {error}") from None
    try:
        return _compiled("|".join(_translated(glob) for glob in globs))
    except ValueError as error:
        raise ValueError(f"has the glob {pattern!r}: {error}") from None


def _translated(glob: str) -> str:
    """A glob without braces, as an expression of RE2."""
    *folders, last = glob.split("/")
    parts = ["(?:.*/)?" if part == "**" else f"{_component(part)}/" for part in folders]
    return "".join(parts) + (".*" if last == "**" else _component(last))


def _component(part: str) -> str:
    found, at = "", 0
    while at < len(part):
        letter, at = part[at], at + 1
        if letter == "*":
            found += "[^/]*"
        elif letter == "?":
            found += "[^/]"
        elif letter == "[":
            end = part.find("]", at)
            inside, at = part[at:end], end + 1
            is_not = inside[:1] in {"!", "^"}
            inside = inside[is_not:]
            if end < 0 or not inside or "\\" in inside:
                raise ValueError("has brackets that name no letters, as [a-z] does")
            letters = inside.replace("[", r"\[").replace("^", r"\^")
            found += f"[^/{letters}]" if is_not else f"[{letters}]"
        else:
            if letter == "\\" and at < len(part):
                letter, at = part[at], at + 1
            found += letter if letter.isalnum() or letter in "_-" else f"\\{letter}"
    return found


@functools.lru_cache(maxsize=1024)
def _expression(text: str, expression: str) -> Match:
    try:
        return _compiled(expression)
    except ValueError as error:
        told = _with_position(str(error), expression)
        raise ValueError(f"has the regular expression {text!r}: {told}") from None


def _compiled(expression: str) -> Match:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        made = re2.compile(expression, options)
    except re2.error as error:
        raise ValueError(error.args[0].decode("utf-8", "replace") if error.args else "is not valid") from None
    return lambda name: made.fullmatch(name) is not None


def _with_position(told: str, expression: str) -> str:
    """RE2 quotes the piece it stumbled over; where that begins is said too."""
    problem, _, piece = told.rpartition(": ")
    at = expression.find(piece) if problem else -1
    return told if at < 0 else f"{problem} at character {at + 1}: {piece}"
