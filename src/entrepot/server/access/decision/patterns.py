"""Globs over repository names and tags, and the filter over lists they add up to. Pure; also as SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, false, func, or_, true

from entrepot.server.access.decision.errors import InvalidPattern, InvalidTagPattern

__all__ = [
    "RepositoryPattern",
    "TagPattern",
    "Visible",
    "glob_matches",
    "parse_repository_pattern",
    "parse_tag_pattern",
]

_COMPONENT: Final = re.compile(r"[a-z0-9._*-]+\Z")
_TAG_PATTERN: Final = re.compile(r"[A-Za-z0-9_.*-]{1,128}\Z")
MAX_PATTERN_LENGTH: Final = 255


def parse_repository_pattern(text: str) -> RepositoryPattern:
    """`acme/app`, `acme/*/base`, `acme/team/**`, `**`. Raises InvalidPattern."""
    base = text.removesuffix("/**")
    ok = text == "**" or (
        0 < len(text) <= MAX_PATTERN_LENGTH
        and all(_COMPONENT.match(part) and "**" not in part for part in base.split("/"))
        and not (base != text and "*" in base)
    )
    if not ok:
        raise InvalidPattern(
            f"repository pattern {text!r} is not valid",
            hint="use * inside a component (acme/*/base) or ** at the end (acme/team/**), not both",
        )
    return RepositoryPattern(text)


def parse_tag_pattern(text: str) -> TagPattern:
    """`latest`, `v*`, `*-rc*`. Raises InvalidTagPattern."""
    if not _TAG_PATTERN.match(text):
        raise InvalidTagPattern(f"tag pattern {text!r} is not valid", hint="use letters, digits, . _ - and *")
    return TagPattern(text)


@dataclass(frozen=True, slots=True)
class TagPattern:
    """A glob over tags; `*` stands for any characters."""

    text: str

    def matches(self, tag: str) -> bool:
        return glob_matches(self.text, tag)


@dataclass(frozen=True, slots=True)
class RepositoryPattern:
    """A glob over repository names: `*` inside a component; `**` only at the end, without `*` before."""

    text: str

    @property
    def is_prefix(self) -> bool:
        return self.text.endswith("/**")

    def matches(self, repository: str) -> bool:
        if self.text == "**":
            return True
        if self.is_prefix:
            base = self.text[:-3]
            return repository == base or repository.startswith(base + "/")
        wanted, got = self.text.split("/"), repository.split("/")
        return len(wanted) == len(got) and all(glob_matches(w, g) for w, g in zip(wanted, got, strict=True))

    def clause(self, name: ColumnElement[str]) -> ColumnElement[bool]:
        """The same in SQL, exactly. `%` cannot cross a slash because the number of slashes is compared."""
        if self.text == "**":
            return true()
        if self.is_prefix:
            base = self.text[:-3]
            return or_(name == base, name.startswith(base + "/", autoescape=True))
        like = "%".join(_escaped(part) for part in self.text.split("*"))
        slashes = func.length(name) - func.length(func.replace(name, "/", ""))
        return and_(name.like(like, escape="^"), slashes == self.text.count("/"))


def _escaped(text: str) -> str:
    return text.replace("^", "^^").replace("%", "^%").replace("_", "^_")


def glob_matches(wanted: str, got: str) -> bool:
    """Whole-text match with any number of `*`; linear in practice, no regular expressions."""
    parts = wanted.split("*")
    if len(parts) == 1:
        return wanted == got
    first, *middle, last = parts
    if len(got) < len(first) + len(last) or not got.startswith(first) or not got.endswith(last):
        return False
    position, end = len(first), len(got) - len(last)
    for part in middle:
        found = got.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


@dataclass(frozen=True, slots=True)
class Visible:
    """Which repositories a caller may see; for lists, the catalog and search."""

    everything: bool = False
    visibilities: tuple[str, ...] = ()
    """Projects of these visibilities are seen by this caller without a grant."""
    project_ids: tuple[int, ...] = ()
    """Projects seen entirely."""
    patterns: tuple[tuple[int, RepositoryPattern], ...] = ()
    """Within a project, repositories seen by a narrowed grant."""
    only: tuple[RepositoryPattern, ...] | None = None
    """A token's own narrowing: nothing outside of these."""

    def sees_all_of(self, project_id: int, visibility: str, name: str) -> bool:
        """Whether nothing in a project is hidden."""
        if self.only is not None and not any(p.text in {"**", f"{name}/**"} for p in self.only):
            return False
        return self.everything or visibility in self.visibilities or project_id in self.project_ids

    def clause(
        self,
        *,
        project_id: ColumnElement[int],
        visibility: ColumnElement[str],
        repository: ColumnElement[str],
    ) -> ColumnElement[bool]:
        """A SQL condition over the project's id and visibility and the repository's name."""
        narrowed = true() if self.only is None else or_(false(), *(p.clause(repository) for p in self.only))
        if self.everything:
            return narrowed
        seen = or_(
            false(),
            visibility.in_(self.visibilities),
            project_id.in_(self.project_ids),
            *(and_(project_id == pid, pattern.clause(repository)) for pid, pattern in self.patterns),
        )
        return and_(seen, narrowed)
