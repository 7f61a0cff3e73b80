"""A policy as values: which repositories and tags each block speaks of, and what it says about them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from entrepot.server.policies.patterns import EVERYTHING, Names

__all__ = [
    "Deletable",
    "DeleteRule",
    "Guard",
    "Immutable",
    "KeepRule",
    "Kind",
    "Per",
    "Policy",
    "Retention",
    "Schedule",
    "WhichRepositories",
    "WhichTags",
]

Kind = Literal["image", "index", "chart", "artifact"]
Per = Literal["minor", "major"]
Deletable = Literal["never", "by-retention"]


@dataclass(frozen=True, slots=True)
class WhichRepositories:
    """`repositories` is about the name below the project when `projects` was said, about the whole name
    otherwise.
    """

    projects: Names = EVERYTHING
    repositories: Names = EVERYTHING
    is_below: bool = False

    def __contains__(self, repository: str) -> bool:
        project, slash, rest = repository.partition("/")
        if project not in self.projects:
            return False
        return (rest if self.is_below and slash else repository) in self.repositories


@dataclass(frozen=True, slots=True)
class WhichTags:
    """By name, and by what they point to."""

    names: Names = EVERYTHING
    without: Names | None = None
    kinds: frozenset[Kind] = frozenset()
    """Empty: every kind."""

    def chooses(self, name: str, kind: Kind) -> bool:
        if name not in self.names or (self.without is not None and name in self.without):
            return False
        return not self.kinds or kind in self.kinds


@dataclass(frozen=True, slots=True)
class KeepRule:
    """One of `newest`, `most_pulled`, `pushed_within`, `pulled_within`, `always`. In microseconds."""

    label: str
    """As people are told of it: `retention 1, keep 2`."""
    tags: WhichTags
    newest: int | None = None
    per: Per | None = None
    """`newest` counts in each of these versions, by version and not by push."""
    recently_pulled: int | None = None
    pushed_within: int | None = None
    pulled_within: int | None = None
    always: bool = False


@dataclass(frozen=True, slots=True)
class DeleteRule:
    """One of them. Durations in microseconds."""

    label: str
    tags: WhichTags
    older_than: int | None = None
    not_pulled_for: int | None = None
    more_than: int | None = None
    untagged_older_than: int | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """A block: what goes is what it names and no keep rule of any block saves."""

    label: str
    repositories: WhichRepositories
    tags: WhichTags | None
    """None: it names none."""
    takes_rest: bool
    keep: tuple[KeepRule, ...]
    delete: tuple[DeleteRule, ...]


@dataclass(frozen=True, slots=True)
class Immutable:
    """Tags that stay what they are."""

    label: str
    repositories: WhichRepositories
    tags: WhichTags
    delete: Deletable = "never"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When retention runs by itself. `cron` has five fields, read in `zone`."""

    cron: str = "0 3 * * *"
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Guard:
    """What no run does before a person has looked."""

    most_removed: float = 0.30
    """Of the tags of a repository, and of a project."""


DEFAULT_SCHEDULE: Final = Schedule()


@dataclass(frozen=True, slots=True)
class Policy:
    """All blocks that hold, of the registry and of its projects."""

    retention: tuple[Retention, ...] = ()
    immutable: tuple[Immutable, ...] = ()
    schedule: Schedule = DEFAULT_SCHEDULE
    guard: Guard = Guard()
