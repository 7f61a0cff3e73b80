"""apk's order (apk-tools: src/version.c): numbers, a letter, suffixes such as `_rc1`, the revision `-r3`.

The steps are apk's own, with its kinds of token in its order, so that odd versions end where apk puts them.
"""

from __future__ import annotations

_INVALID, _DIGIT_OR_ZERO, _DIGIT, _LETTER, _SUFFIX, _SUFFIX_NUMBER, _REVISION, _END = range(-1, 7)
_BEFORE = ("alpha", "beta", "pre", "rc")
_AFTER = ("cvs", "svn", "git", "hg", "p")
_STEPS_BACK = frozenset(((_DIGIT, _DIGIT_OR_ZERO), (_SUFFIX_NUMBER, _SUFFIX), (_LETTER, _DIGIT)))


class _Tokens:
    """What is left of a version; `kind` is what comes next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.kind = _DIGIT

    def take(self) -> int:
        """The value of the next token."""
        text, at = self._text, self._at
        if at >= len(text):
            self.kind = _END
            return 0
        after = _INVALID
        value = 0
        if self.kind == _DIGIT_OR_ZERO and text[at] == "0":
            zeros = len(text) - at - len(text[at:].lstrip("0"))
            value, at, after = -zeros, at + zeros, _DIGIT
        elif self.kind in (_DIGIT_OR_ZERO, _DIGIT, _SUFFIX_NUMBER, _REVISION):
            end = at
            while end < len(text) and "0" <= text[end] <= "9":
                end += 1
            value, at = int(text[at:end] or "0"), end
        elif self.kind == _LETTER:
            value, at = ord(text[at]), at + 1
        else:
            found = self._suffix()
            if found is None:
                self.kind = _INVALID
                return -1
            value, length = found
            at += length
        self._at = at
        if at >= len(text):
            self.kind = _END
        elif after != _INVALID:
            self.kind = after
            if not "0" <= text[at] <= "9":  # apk 2 read an empty number here, and 1.0_rc1 came after 1.0
                self._next()
        else:
            self._next()
        return value

    def _suffix(self) -> tuple[int, int] | None:
        if self.kind == _SUFFIX:
            for names, first in ((_BEFORE, -len(_BEFORE)), (_AFTER, 0)):
                for index, name in enumerate(names):
                    if self._text.startswith(name, self._at):
                        return first + index, len(name)
        return None

    def _next(self) -> None:
        character = self._text[self._at]
        kind = _INVALID
        if self.kind in (_DIGIT, _DIGIT_OR_ZERO) and "a" <= character <= "z":
            kind = _LETTER
        elif self.kind == _LETTER and "0" <= character <= "9":
            kind = _DIGIT
        elif self.kind == _SUFFIX and "0" <= character <= "9":
            kind = _SUFFIX_NUMBER
        else:
            if character == ".":
                kind = _DIGIT_OR_ZERO
            elif character == "_":
                kind = _SUFFIX
            elif character == "-" and self._text.startswith("-r", self._at):
                kind = _REVISION
                self._at += 1
            self._at += 1
        if kind < self.kind and (self.kind, kind) not in _STEPS_BACK:
            kind = _INVALID
        self.kind = kind


def compare(a: str, b: str) -> int | None:
    """None when the answer would rest on a part that is no version."""
    if not ("0" <= a[:1] <= "9" and "0" <= b[:1] <= "9"):
        return None
    left, right = _Tokens(a.partition("~")[0]), _Tokens(b.partition("~")[0])
    one = two = 0
    while left.kind == right.kind and left.kind not in (_END, _INVALID) and one == two:
        one, two = left.take(), right.take()
    if one != two:
        return -1 if one < two else 1
    if _INVALID in (left.kind, right.kind):
        return 0 if a == b else None
    if left.kind == right.kind:
        return 0
    # The longer is the newer, unless it goes on with a suffix of a version before the release.
    kind, other = left.kind, right.kind
    for tokens, before, sign in ((left, kind, -1), (right, other, 1)):
        if before == _SUFFIX:
            value = tokens.take()
            if value < 0:
                return None if tokens.kind == _INVALID else sign
    return -1 if kind > other else 1


def is_valid(version: str) -> bool:
    """Whether apk takes it for a version to its last character."""
    if not "0" <= version[:1] <= "9":
        return False
    tokens = _Tokens(version.partition("~")[0])
    while tokens.kind not in (_END, _INVALID):
        tokens.take()
    return tokens.kind == _END
