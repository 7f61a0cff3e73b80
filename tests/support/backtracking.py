"""Which texts make a regular expression slow: the steps of a backtracking matcher, counted instead of timed.

`slow_text` tries strings made from the pattern itself (a way to each of its loops, then something the loop
takes, many times, then something that fails) in three lengths. Where the steps grow faster than the text,
the pattern is quadratic or worse. Counting makes the answer the same on every machine; what a real matcher
would skip by an optimization counts here, so this errs on the careful side.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from re import _constants as sre
from re import _parser
from typing import Any, Final, Literal

__all__ = ["Mode", "NotUnderstood", "slow_text"]

Mode = Literal["match", "fullmatch", "scan"]
"""How it is used; `scan` is search, findall, finditer, sub, split: a try at every position."""

Items = list[tuple[Any, Any]]
Test = Callable[[str], bool]

_LENGTHS: Final = (16, 32, 64)
_MOST_STEPS: Final = 60_000
"""Far above what 64 repetitions need in linear time; exponential patterns end here."""
_LINEAR: Final = 2.5
"""Twice the text twice the steps; a quadratic part brings this towards four."""
_LONG: Final = 64
"""Loops that end before so many repetitions are no loops here."""
_PAIRED: Final = 6
_CHARACTERS: Final = (*string.printable, "\0", "é", "\u2028")


class NotUnderstood(Exception):
    """The pattern uses something that the matcher here does not know."""


class _TooMany(Exception):
    pass


def slow_text(pattern: str | bytes, flags: int, mode: Mode) -> str | None:
    """A text of which twice the length takes more than twice the steps; None where none was found."""
    if isinstance(pattern, bytes):
        pattern, flags = pattern.decode("latin-1"), flags | re.ASCII
    parsed = _parser.parse(pattern, flags)
    matcher = _Matcher(list(parsed), parsed.state.flags)
    for before, again, after in _attacks(matcher, mode):
        short, middle, long = (before + again * length + after for length in _LENGTHS)
        try:
            tried = matcher.steps(middle, mode)
            if tried < _LENGTHS[1] ** 2 // 2:
                continue
            first, second = tried - matcher.steps(short, mode), matcher.steps(long, mode) - tried
        except _TooMany:
            return before + again * 3 + "…" + after
        if second > _LINEAR * max(first, _LENGTHS[-1]):
            return before + again * 3 + "…" + after
    return None


class _Matcher:
    """Backtracks as `re` does, and counts."""

    def __init__(self, items: Items, flags: int) -> None:
        self.items = items
        self.flags = flags
        self.left = 0
        self.tests: dict[int, Test] = {}
        leaves = list(_leaves(items))
        named = [chr(node[1]) for node in leaves if node[0] is sre.LITERAL]
        self.characters = dict.fromkeys([*_CHARACTERS, *named])
        self.alphabet = self.kinds([self.test(node) for node in leaves])

    def kinds(self, tests: list[Test]) -> list[str]:
        """Of the characters that all of these take alike, one each."""
        kinds: dict[tuple[bool, ...], str] = {}
        for character in self.characters:
            kinds.setdefault(tuple(test(character) for test in tests), character)
        return list(kinds.values())

    def steps(self, text: str, mode: Mode) -> int:
        self.left = _MOST_STEPS
        start = 0
        while start <= len(text):
            end = next(
                (e for e in self.ends(self.items, 0, text, start) if mode != "fullmatch" or e == len(text)),
                None,
            )
            if mode != "scan":
                break
            start = start + 1 if end is None or end == start else end
        return _MOST_STEPS - self.left

    def ends(self, items: Items, at: int, text: str, pos: int) -> Iterator[int]:
        """Where a match of items[at:] that begins at pos may end, best first."""
        if at == len(items):
            yield pos
            return
        for end in self._one(items[at], text, pos):
            yield from self.ends(items, at + 1, text, end)

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _TooMany

    def _one(self, node: tuple[Any, Any], text: str, pos: int) -> Iterator[int]:
        self._step()
        kind, value = node
        if kind in _LEAVES:
            if pos < len(text) and self.test(node)(text[pos]):
                yield pos + 1
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            low, high, body = value
            yield from self._repeat(list(body), low, high, text, pos, greedy=kind is sre.MAX_REPEAT)
        elif kind is sre.POSSESSIVE_REPEAT:
            low, high, body = value
            found = self._repeat(list(body), low, high, text, pos, greedy=True)
            yield from _first(found)
        elif kind is sre.ATOMIC_GROUP:
            yield from _first(self.ends(list(value), 0, text, pos))
        elif kind is sre.SUBPATTERN:
            yield from self.ends(list(value[3]), 0, text, pos)
        elif kind is sre.BRANCH:
            for choice in value[1]:
                yield from self.ends(list(choice), 0, text, pos)
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            if self._looks(value, text, pos) == (kind is sre.ASSERT):
                yield pos
        elif kind is sre.AT:
            if _at(value, text, pos):
                yield pos
        else:
            raise NotUnderstood(f"{kind} in a regular expression")

    def _repeat(
        self, body: Items, low: int, high: int, text: str, pos: int, *, greedy: bool, done: int = 0
    ) -> Iterator[int]:
        if not greedy and done >= low:
            yield pos
        if done < high:
            for end in self.ends(body, 0, text, pos):
                if end > pos or done < low:
                    yield from self._repeat(body, low, high, text, end, greedy=greedy, done=done + 1)
        if greedy and done >= low:
            yield pos

    def _looks(self, value: tuple[int, Any], text: str, pos: int) -> bool:
        direction, body = value
        if direction < 0:
            width = body.getwidth()[1]
            pos -= width
            if pos < 0:
                return False
        return next(self.ends(list(body), 0, text, pos), None) is not None

    def test(self, node: tuple[Any, Any]) -> Test:
        """Whether a character is one that the node takes."""
        known = self.tests.get(id(node))
        if known is None:
            known = self.tests[id(node)] = _test(node, self.flags)
        return known


_LEAVES: Final = (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN)


def _first(found: Iterator[int]) -> Iterator[int]:
    for end in found:
        yield end
        return


def _at(where: Any, text: str, pos: int) -> bool:
    if where in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
        return pos == 0
    if where is sre.AT_END_STRING:
        return pos == len(text)
    if where is sre.AT_END:
        return pos == len(text) or text[pos:] == "\n"
    before = pos > 0 and (text[pos - 1].isalnum() or text[pos - 1] == "_")
    after = pos < len(text) and (text[pos].isalnum() or text[pos] == "_")
    if where is sre.AT_BOUNDARY:
        return before != after
    if where is sre.AT_NON_BOUNDARY:
        return before == after
    raise NotUnderstood(f"{where} in a regular expression")


def _test(node: tuple[Any, Any], flags: int) -> Test:
    """By `re` itself, once for each of the characters tried."""
    kind, value = node
    if kind is sre.IN:
        source = "[" + "".join(_set_part(part) for part in value) + "]"
    elif kind is sre.ANY:
        source = "."
    else:
        source = "[" + ("^" if kind is sre.NOT_LITERAL else "") + _escaped(value) + "]"
    compiled = re.compile(source, flags & (re.IGNORECASE | re.DOTALL | re.ASCII))
    known: dict[str, bool] = {}

    def test(character: str) -> bool:
        found = known.get(character)
        if found is None:
            found = known[character] = compiled.match(character) is not None
        return found

    return test


_CATEGORIES: Final = {
    sre.CATEGORY_DIGIT: r"\d", sre.CATEGORY_NOT_DIGIT: r"\D", sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S", sre.CATEGORY_WORD: r"\w", sre.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def _set_part(part: tuple[Any, Any]) -> str:
    kind, value = part
    if kind is sre.NEGATE:
        return "^"
    if kind is sre.LITERAL:
        return _escaped(value)
    if kind is sre.RANGE:
        return f"{_escaped(value[0])}-{_escaped(value[1])}"
    return _CATEGORIES[value]


def _escaped(code: int) -> str:
    return f"\\U{code:08x}"


def _bodies(node: tuple[Any, Any]) -> list[Items]:
    kind, value = node
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        return [list(value[2])]
    if kind is sre.SUBPATTERN:
        return [list(value[3])]
    if kind is sre.ATOMIC_GROUP:
        return [list(value)]
    if kind is sre.BRANCH:
        return [list(choice) for choice in value[1]]
    if kind in (sre.ASSERT, sre.ASSERT_NOT):
        return [list(value[1])]
    return []


def _leaves(items: Items) -> Iterator[tuple[Any, Any]]:
    for node in items:
        if node[0] in _LEAVES:
            yield node
        for body in _bodies(node):
            yield from _leaves(body)


def _loops(matcher: _Matcher, items: Items, before: str = "") -> Iterator[tuple[str, Items]]:
    """(a text that leads there, its body) of each loop without an end."""
    for node in items:
        kind, value = node
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT) and value[1] >= _LONG:
            yield before, list(value[2])
        for body in _bodies(node):
            yield from _loops(matcher, body, before)
        before += _sample(matcher, [node], most=1)


def _sample(matcher: _Matcher, items: Items, most: int = 0) -> str:
    """A text that fits; what may be left out is in it when `most` is 1."""
    text = ""
    for node in items:
        kind, value = node
        if kind in _LEAVES:
            text += next(c for c in (*matcher.alphabet, *matcher.characters) if matcher.test(node)(c))
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            text += _sample(matcher, list(value[2]), most) * max(value[0], min(most, value[1]))
        elif kind not in (sre.ASSERT, sre.ASSERT_NOT):
            text += next((_sample(matcher, body, most) for body in _bodies(node)), "")
    return text


def _attacks(matcher: _Matcher, mode: Mode) -> Iterator[tuple[str, str, str]]:
    """(before, what is repeated, after)."""
    loops = list(_loops(matcher, matcher.items))
    if not loops:
        return
    inside = [matcher.test(leaf) for _, body in loops for leaf in _leaves(body)]
    taken = [character for character in matcher.alphabet if any(test(character) for test in inside)]
    few = [c for c in matcher.kinds([*inside, str.isalnum]) if any(test(c) for test in inside)]
    pairs = [first + second for first in few[:_PAIRED] for second in few[:_PAIRED] if first != second]
    words = [_sample(matcher, body, most) for _, body in loops for most in (0, 1)]
    ways = list(dict.fromkeys(["", *(before for before, _ in loops)]))
    again = list(dict.fromkeys([*taken, *words, *(ways if mode == "scan" else ())]))
    # What fails after a loop: nothing, or what it does not take.
    after = list(dict.fromkeys(["", "\0", *(_ending(matcher, body) for _, body in loops)]))
    for word in again:
        if word:
            yield from ((way, word, last) for way in ways for last in after)
    yield from ((way, pair, last) for way in ways for pair in pairs for last in after[1:3])


def _ending(matcher: _Matcher, body: Items) -> str:
    """A character that ends a loop; nothing where it takes every one."""
    tests = [matcher.test(leaf) for leaf in _leaves(body)]
    return next((c for c in matcher.alphabet if not any(test(c) for test in tests)), "")
