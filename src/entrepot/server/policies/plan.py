"""What a policy would do: a row for each tag, and whether somebody has to look first. Values and sums."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from entrepot.server.policies.model import Guard

__all__ = ["Fate", "PlanRow", "RepositoryPlan", "RetentionPlan", "check"]


class Fate(enum.StrEnum):
    KEEP = "keep"
    REMOVE = "remove"
    LEAVE = "leave"
    """No rule is about it."""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One tag; with an empty `tag`, a manifest that has none."""

    repository: str
    tag: str
    digest: str
    decision: Fate
    rule: str
    """That decided; empty when none is about it."""
    why: str
    goes_at: int | None = None
    """When it would go if nobody pushed or pulled any more; None: time alone takes it not away."""


@dataclass(frozen=True, slots=True)
class RepositoryPlan:
    name: str
    rows: tuple[PlanRow, ...]

    @property
    def removed(self) -> list[PlanRow]:
        return [row for row in self.rows if row.decision is Fate.REMOVE]


@dataclass(slots=True)
class RetentionPlan:
    """Of many repositories: what goes is listed, what stays is counted."""

    now: int
    removed: list[PlanRow] = field(default_factory=list)
    kept: int = 0
    """Tags."""
    tags: dict[str, int] = field(default_factory=dict)
    """How many each repository had of which some go."""
    project_tags: dict[str, int] = field(default_factory=dict)
    kept_by: dict[str, int] = field(default_factory=dict)
    """Tags by the rule that keeps them."""
    waits_for: list[str] = field(default_factory=list)
    """Why nothing is removed before a person has looked; empty: nothing speaks against it."""

    def add(self, found: RepositoryPlan) -> None:
        removed = found.removed
        tags = sum(1 for row in found.rows if row.tag)
        gone = sum(1 for row in removed if row.tag)
        self.removed += removed
        self.kept += tags - gone
        for row in found.rows:
            if row.tag and row.rule and row.decision is Fate.KEEP:
                self.kept_by[row.rule] = self.kept_by.get(row.rule, 0) + 1
        project = found.name.partition("/")[0]
        self.project_tags[project] = self.project_tags.get(project, 0) + tags
        if removed:
            self.tags[found.name] = tags


def check(plan: RetentionPlan, guard: Guard) -> list[str]:
    """Sentences that say why a person should look at it first."""
    removed_of = _count(row.repository for row in plan.removed if row.tag)
    found = _too_many("repository", removed_of, plan.tags, guard)
    by_project: dict[str, int] = {}
    for name, number in removed_of.items():
        project = name.partition("/")[0]
        by_project[project] = by_project.get(project, 0) + number
    return found + _too_many("project", by_project, plan.project_tags, guard)


def _too_many(what: str, removed_of: dict[str, int], tags: dict[str, int], guard: Guard) -> list[str]:
    told: Sequence[tuple[str, int]] = sorted(removed_of.items())
    found = []
    for name, removed in told:
        there = tags[name]
        if removed >= there:
            found.append(f"no tag of the {what} {name} would stay")
        elif removed > there * guard.most_removed:
            share = round(100 * removed / there)
            found.append(
                f"{removed} of {there} tags of the {what} {name} would go, {share} %;"
                f" more than {round(100 * guard.most_removed)} % waits for a person"
            )
    return found


def _count(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found
