"""JSON that two readers can't understand differently.

Manifests and configs come from strangers, and what one program signs or scans another one runs, so
everything on which parsers disagree is refused: duplicate keys, NaN and infinities, numbers beyond
64 bits, lone surrogates, NUL, a byte order mark, bytes after the value. Depth and number of elements
are counted before anything is built, in time linear in the input.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from entrepot.errors import InvalidInput

MAX_DEPTH: Final = 32
MAX_ELEMENTS: Final = 50_000
_MAX_NUMBER_LENGTH: Final = 20  # of -9223372036854775808

# An unterminated string runs to the end, so that no input is scanned twice.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")
_SUSPICIOUS_ESCAPE: Final = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")


class InvalidJson(InvalidInput):
    """The bytes are not JSON that every reader would understand in the same way."""

    code = "invalid-json"


def loads(raw: bytes, *, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS) -> Any:
    """Raises InvalidJson, and nothing else, whatever the input."""
    if not raw:
        raise InvalidJson("not valid JSON: there is nothing")
    if raw.startswith(codecs.BOM_UTF8):
        raise InvalidJson("not valid JSON: it starts with a byte order mark, which JSON does not have")
    _check_shape(raw, max_depth, max_elements)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"not UTF-8 at byte {error.start}") from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except json.JSONDecodeError as error:
        raise InvalidJson(f"not valid JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:  # unreachable while max_depth is sane; never let it out
        raise InvalidJson(f"nested deeper than {max_depth}") from error
    if _SUSPICIOUS_ESCAPE.search(text):
        _check_text(value)
    return value


def loads_object(
    raw: bytes, *, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS
) -> dict[str, Any]:
    """Like `loads`, for documents that must be an object. Raises InvalidJson."""
    value = loads(raw, max_depth=max_depth, max_elements=max_elements)
    if not isinstance(value, dict):
        raise InvalidJson("not a JSON object")
    return value


def check_spelling(obj: Mapping[str, Any], known: Mapping[str, str], where: str) -> None:
    """Refuse fields that differ from a known one only by case: some readers would take them for it.

    `known` maps the case-folded name to the right one.

    Raises InvalidJson.
    """
    for key in obj:
        right = known.get(key.casefold())
        if right is not None and right != key:
            shown = key.encode("unicode_escape").decode("ascii")
            raise InvalidJson(f'{where}: field "{shown}" can be mistaken for "{right}"')


def spelling_table(*names: str) -> dict[str, str]:
    """The `known` table of `check_spelling`."""
    return {name.casefold(): name for name in names}


def _check_shape(raw: bytes, max_depth: int, max_elements: int) -> None:
    opened = raw.count(b"{") + raw.count(b"[")
    if opened <= max_depth and opened + raw.count(b",") <= max_elements:
        return  # even if none of these were inside of a text
    bare = _STRING.sub(b"", raw)
    opened = bare.count(b"{") + bare.count(b"[")
    if opened + bare.count(b",") > max_elements:
        raise InvalidJson(f"more than {max_elements} elements")
    if opened <= max_depth:
        return
    depth = 0
    for bracket in _BRACKET.findall(bare):
        depth += 1 if bracket in b"[{" else -1
        if depth > max_depth:
            raise InvalidJson(f"nested deeper than {max_depth}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                shown = key.encode("unicode_escape").decode("ascii")[:80]
                raise InvalidJson(f'duplicate field "{shown}"')
            seen.add(key)
    return result


def _refuse_constant(name: str) -> Any:
    raise InvalidJson(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidJson("number out of range")
    return value


def _bounded(text: str) -> int:
    if len(text) > _MAX_NUMBER_LENGTH:
        raise InvalidJson("number out of range")
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise InvalidJson("number out of range")
    return value


def _check_text(value: Any) -> None:
    """Lone surrogates can't be stored as UTF-8, NUL not in every database."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if "\0" in item or not _encodable(item):
                raise InvalidJson("text holds NUL or half a surrogate pair")
        elif isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
