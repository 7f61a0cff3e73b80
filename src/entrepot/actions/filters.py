"""`--filter` of image listings, docker's: dangling, label, before, since, reference, until."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from entrepot.actions.errors import InvalidFilter
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.images.times import parse_time
from entrepot.oci.reference import Reference

_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
_DURATION = re.compile(r"(?<![\d.])(\d++(?:\.\d++)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

Test = Callable[[Image], bool]


class ImageFilter(Struct, frozen=True):
    """What is left of a listing, and of each image's names."""

    tests: tuple[Test, ...] = ()
    patterns: tuple[str, ...] = ()
    dangling: bool | None = None

    def keeps(self, image: Image) -> bool:
        if self.dangling is not None and image.is_dangling != self.dangling:
            return False
        if self.patterns and not self.names(image):
            return False
        return all(test(image) for test in self.tests)

    def names(self, image: Image) -> tuple[Reference, ...]:
        """The image's tags and digests the patterns leave."""
        references = (*image.tags, *image.repo_digests)
        if not self.patterns:
            return references
        return tuple(one for one in references if any(matches(pattern, one) for pattern in self.patterns))


def parse_filters(
    filters: Sequence[str], store: ImageStore, *, allowed: frozenset[str] | None = None
) -> ImageFilter:
    """`key=value` texts into one filter. Filters of one key are alternatives only for `reference`.

    Raises InvalidFilter, NoSuchImage.
    """
    tests: list[Test] = []
    patterns: list[str] = []
    dangling: bool | None = None
    for text in filters:
        key, _, value = text.partition("=")
        if key not in (allowed or KEYS) or not value:
            raise InvalidFilter(key if value or key not in KEYS else text)
        if key == "reference":
            patterns.append(value)
        elif key == "dangling":
            if value.lower() not in _BOOLEANS:
                raise InvalidFilter(f"dangling=[{value}]")
            dangling = _BOOLEANS[value.lower()]
        else:
            tests.append(TESTS[key](value, store))
    return ImageFilter(tuple(tests), tuple(patterns), dangling)


def matches(pattern: str, reference: Reference) -> bool:
    """Shell pattern against the familiar name, with and without tag; `*` stays within a path part."""
    compiled = re.compile(_translate(pattern))
    return bool(compiled.fullmatch(reference.familiar()) or compiled.fullmatch(reference.familiar_name))


def _translate(pattern: str) -> str:
    return "".join(
        "[^/]*" if part == "*" else "[^/]" if part == "?" else _literal(part)
        for part in re.findall(r"\[[^\]]*(?:\]|\Z)|\*|\?|.", pattern)
    )


def _literal(part: str) -> str:
    return fnmatch.translate(part)[4:-3] if part.startswith("[") else re.escape(part)


def _label(value: str, store: ImageStore) -> Test:
    key, has_value, wanted = value.partition("=")

    def test(image: Image) -> bool:
        labels = store.config(image).labels if image.diff_ids else {}
        return key in labels and (not has_value or labels[key] == wanted)

    return test


def _no_label(value: str, store: ImageStore) -> Test:
    has = _label(value, store)
    return lambda image: not has(image)


def _before(value: str, store: ImageStore) -> Test:
    moment = store.resolve(value).created
    return lambda image: bool(moment and image.created and image.created < moment)


def _since(value: str, store: ImageStore) -> Test:
    moment = store.resolve(value).created
    return lambda image: bool(moment and image.created and image.created > moment)


def _until(value: str, _store: ImageStore) -> Test:
    moment = parse_moment(value)
    return lambda image: bool(image.created and image.created < moment)


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """A time (RFC 3339, a date, Unix seconds) or an age as Go writes durations (`24h`, `1h30m`).

    Raises InvalidFilter.
    """
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        return (now or datetime.now(UTC)) - timedelta(seconds=seconds)
    if text.isascii() and text.isdigit():
        return datetime.fromtimestamp(int(text), UTC)
    moment = parse_time(text)
    if moment is None:
        raise InvalidFilter(f"until={text}")
    return moment


TESTS: dict[str, Callable[[str, ImageStore], Test]] = {
    "label": _label,
    "label!": _no_label,
    "before": _before,
    "since": _since,
    "until": _until,
}
KEYS = frozenset({*TESTS, "reference", "dangling"})
