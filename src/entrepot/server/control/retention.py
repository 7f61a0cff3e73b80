"""Retention, run: by the schedule or by a person, in batches, each row decided again in its transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection

from entrepot.errors import Conflict, NotFound
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import SYSTEM, Actor
from entrepot.server.access.decision.change import allow_all
from entrepot.server.access.decision.model import Action
from entrepot.server.control.queries import policies as rows
from entrepot.server.control.queries.moves import names_among
from entrepot.server.control.queries.policies import RunRow
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look
from entrepot.server.policies.facts import RepositoryFacts
from entrepot.server.policies.model import Policy
from entrepot.server.policies.plan import Fate, PlanRow, RepositoryPlan, RetentionPlan, check
from entrepot.server.policies.retention import evaluate
from entrepot.server.repos.errors import ManifestUnknown, NameUnknown, TagImmutable
from entrepot.server.repos.history import restore_manifest, restore_tag
from entrepot.server.repos.manifestdelete import delete_manifest, delete_tag
from entrepot.server.repos.rows import require_repository

__all__ = [
    "PlanRow",
    "RetentionPlan",
    "RunRow",
    "list_retention_runs",
    "plan_repository",
    "plan_retention",
    "plan_tag",
    "retention_if_due",
    "run_retention",
    "show_retention_run",
    "undo_retention_run",
]

BATCH: Final = 200
"""Tags deleted in one transaction."""
Before = tuple[str, int]
"""What a tag pointed to, and since when."""


def effective_policy(texts: Mapping[str, str]) -> Policy:
    """Of the registry and all projects. Raises InvalidPolicy."""
    from entrepot.server.policies.document import join, parse_policy

    registry = parse_policy(texts[""]) if "" in texts else Policy()
    return join(registry, {scope: parse_policy(text, scope) for scope, text in texts.items() if scope})


def moment(services: Services) -> int:
    """What ages are measured with: a wall clock that was set forward makes nothing old."""
    clock = services.catalog.clock
    return min(clock.now(), clock.steady())


async def make_plan(
    services: Services,
    policy: Policy,
    now: int,
    *,
    project: str | None = None,
    before: Mapping[tuple[str, str], Before | None] = MappingProxyType({}),
) -> RetentionPlan:
    """Holds what goes, and counts what stays. `before`: by repository and tag, those that are to be taken as
    they were at some time; None: not there.
    """
    plan = RetentionPlan(now)
    catalog = services.catalog

    def names(connection: Connection) -> list[rows.Repository]:
        return rows.live_repositories(connection, project_name=project)

    repositories = await catalog.read(names)
    named = {
        one[1].partition("/")[0]
        for one in repositories
        if any(one[1] in block.repositories for block in policy.retention)
    }
    # All of such a project, since the guard counts by project.
    about = [one for one in repositories if one[1].partition("/")[0] in named]
    for first in range(0, len(about), rows.AT_ONCE):
        some = about[first : first + rows.AT_ONCE]

        def decide(connection: Connection, some: list[rows.Repository] = some) -> list[RepositoryPlan]:
            return [
                evaluate(_as_before(facts, before), policy, now)
                for facts in rows.facts_of(connection, some, policy)
            ]

        for found in await catalog.read(decide):
            plan.add(found)
    plan.waits_for = check(plan, policy.guard)
    return plan


def _as_before(facts: RepositoryFacts, before: Mapping[tuple[str, str], Before | None]) -> RepositoryFacts:
    tags = []
    for tag in facts.tags:
        key = facts.name, tag.name
        was = before.get(key, (tag.digest, tag.pushed_at))
        if was is not None:
            tags.append(replace(tag, digest=was[0], pushed_at=was[1]) if key in before else tag)
    return replace(facts, tags=tags)


async def plan_retention(services: Services, actor: Actor) -> RetentionPlan:
    """What a run would remove now. Raises InvalidPolicy, AccessDenied."""

    def see(t: Transaction) -> dict[str, str]:
        t.require(Action.READ_SYSTEM)
        return rows.current_texts(t.connection)

    policy = effective_policy(await look(services, actor, see))
    return await make_plan(services, policy, moment(services))


async def plan_repository(services: Services, actor: Actor, repository: str) -> RepositoryPlan:
    """Every tag of one repository, with what decides about it. Raises NotFound."""
    now = moment(services)

    def see(t: Transaction) -> RepositoryPlan:
        t.require(Action.READ, repository=repository)
        require_repository(t.connection, repository)
        policy = effective_policy(rows.current_texts(t.connection))
        return _plan_one(t.connection, repository, policy, now)

    return await look(services, actor, see)


async def plan_tag(services: Services, actor: Actor, repository: str, tag: str) -> PlanRow | None:
    """What retention will do to a tag; None when no rule is there, or the tag is not. Raises NotFound."""

    def see(t: Transaction) -> bool:
        return bool(rows.current_texts(t.connection))

    if not await look(services, actor, see):  # most registries have none: their pages cost no plan
        return None
    found = await plan_repository(services, actor, repository)
    return next((row for row in found.rows if row.tag == tag), None)


def _plan_one(connection: Connection, repository: str, policy: Policy, now: int) -> RepositoryPlan:
    project = repository.partition("/")[0]
    some = [one for one in rows.live_repositories(connection, project_name=project) if one[1] == repository]
    for facts in rows.facts_of(connection, some, policy):
        return evaluate(facts, policy, now)
    return RepositoryPlan(repository, ())


async def run_retention(
    services: Services, actor: Actor, *, approve: int | None = None
) -> tuple[RunRow, RetentionPlan]:
    """Remove what the policies say, unless that is so much that a person has to look first: then the run
    waits, and nothing is removed. `approve`: what that run was to remove, and is still to go, goes.

    What was pushed, pulled or held meanwhile stays. Raises NotFound, Conflict (that run does not wait),
    InvalidPolicy.
    """
    now = moment(services)

    def see(t: Transaction) -> tuple[dict[str, str], RunRow | None]:
        t.require(Action.MANAGE_SYSTEM)
        waiting = rows.find_run(t.connection, approve) if approve is not None else None
        if waiting is not None and waiting.state != "waiting":
            raise Conflict(f"run {approve} of retention does not wait for anybody: it is {waiting.state}")
        return rows.current_texts(t.connection), waiting

    texts, waiting = await look(services, actor, see)
    plan = await make_plan(services, effective_policy(texts), now)
    if waiting is not None:
        seen = {tuple(row[:3]) for row in waiting.rows}
        plan.removed = [row for row in plan.removed if (row.repository, row.tag, row.digest) in seen]
        plan.waits_for = []
    run = await change(services, actor, lambda t: _begin_run(t, plan, approve))
    if plan.waits_for:
        return await show_retention_run(services, actor, run), plan
    removed: list[PlanRow] = []
    try:
        for repository, batch in _batches(plan.removed):
            removed += await _remove(services, actor, repository, batch, now)
    finally:
        await change(services, actor, lambda t: _end_run(t, run, removed, len(removed) == len(plan.removed)))
    return await show_retention_run(services, actor, run), plan


def _begin_run(t: Transaction, plan: RetentionPlan, approve: int | None) -> int:
    t.require(Action.MANAGE_SYSTEM)
    if approve is not None:
        rows.change_run(t.connection, approve, state="done", reason="approved")
    run = rows.add_run(
        t.connection,
        state="waiting" if plan.waits_for else "running",
        at=t.now,
        by=t.actor.name,
        kept=plan.kept,
        rows=[_told(row) for row in plan.removed],
    )
    if plan.waits_for:
        rows.change_run(t.connection, run, reason="; ".join(plan.waits_for))
    return run


def _end_run(t: Transaction, run: int, removed: list[PlanRow], is_whole: bool) -> None:
    reason = None if is_whole else "what changed meanwhile was left alone"
    rows.change_run(
        t.connection,
        run,
        state="done",
        finished_at=t.now,
        removed=len(removed),
        rows=[_told(row) for row in removed],
        reason=reason,
    )
    if removed:
        detail = {"run": run, "removed": len(removed)}
        record(t.connection, t.actor, "run-retention", now=t.now, detail=detail)


def _told(row: PlanRow) -> list[str]:
    return [row.repository, row.tag, row.digest, row.rule, row.why]


def _batches(removed: list[PlanRow]) -> list[tuple[str, list[PlanRow]]]:
    by_name: dict[str, list[PlanRow]] = {}
    for row in removed:
        by_name.setdefault(row.repository, []).append(row)
    return [
        (name, found[first : first + BATCH])
        for name, found in by_name.items()
        for first in range(0, len(found), BATCH)
    ]


async def _remove(
    services: Services, actor: Actor, repository: str, batch: list[PlanRow], now: int
) -> list[PlanRow]:
    """Those of the batch that are to go by what this transaction sees."""

    def do(t: Transaction) -> list[PlanRow]:
        policy = effective_policy(rows.current_texts(t.connection))
        try:
            again = _plan_one(t.connection, repository, policy, now)
        except NameUnknown:
            return []
        due = {(row.tag, row.digest) for row in again.rows if row.decision is Fate.REMOVE}
        gone = []
        for row in batch:
            if (row.tag, row.digest) not in due:
                continue
            try:
                if row.tag:
                    delete_tag(
                        t.connection,
                        repository,
                        row.tag,
                        t.actor,
                        allow_all,
                        t.now,
                        t.steady,
                        rule=f"{row.rule}: {row.why}",
                    )
                else:
                    delete_manifest(t.connection, repository, row.digest, t.actor, allow_all, t.now, t.steady)
            except (ManifestUnknown, NameUnknown, TagImmutable):
                continue
            gone.append(row)
        return gone

    return await change(services, actor, do)


async def list_retention_runs(services: Services, actor: Actor, *, n: int = 50) -> list[RunRow]:
    """Newest first."""

    def see(t: Transaction) -> list[RunRow]:
        t.require(Action.READ_SYSTEM)
        return rows.list_runs(t.connection, n)

    return await look(services, actor, see)


async def show_retention_run(services: Services, actor: Actor, run: int) -> RunRow:
    """Raises NotFound."""

    def see(t: Transaction) -> RunRow:
        t.require(Action.READ_SYSTEM)
        return rows.find_run(t.connection, run)

    return await look(services, actor, see)


async def undo_retention_run(services: Services, actor: Actor, run: int) -> int:
    """What a run removed comes back; a tag that has a new meaning by now is left alone, and so is what
    collection took. How many came back. Raises NotFound, Conflict (it removed nothing).
    """

    def see(t: Transaction) -> RunRow:
        t.require(Action.MANAGE_SYSTEM)
        return rows.find_run(t.connection, run)

    found = await look(services, actor, see)
    if found.state not in {"done", "running"} or not found.rows:
        raise Conflict(f"run {run} of retention removed nothing: it is {found.state}")
    back = 0
    by_name: dict[str, list[list[str]]] = {}
    for row in found.rows:
        by_name.setdefault(row[0], []).append(row)
    for repository, gone in by_name.items():
        for first in range(0, len(gone), BATCH):
            some = gone[first : first + BATCH]

            def do(t: Transaction, repository: str = repository, some: list[list[str]] = some) -> int:
                t.require(Action.MANAGE_SYSTEM)
                return _bring_back(t, repository, some)

            back += await change(services, actor, do)
    await change(services, actor, lambda t: rows.change_run(t.connection, run, state="undone"))
    return back


def _bring_back(t: Transaction, repository: str, gone: list[list[str]]) -> int:
    try:
        repo_id = require_repository(t.connection, repository).id
    except NotFound:
        return 0
    present = names_among(t.connection, repo_id, [row[1] for row in gone if row[1]])
    number = 0
    for _, name, digest, *_ in gone:
        if name in present:
            continue
        try:
            if name:
                restore_tag(t.connection, repository, name, digest, t.actor, allow_all, t.now, t.steady)
            else:
                restore_manifest(t.connection, repository, digest, t.actor, t.now, t.steady)
        except ManifestUnknown:
            continue
        number += 1
    return number


async def retention_if_due(services: Services) -> dict[str, Any]:
    """The scheduled job, once a minute: a run when its time came since the last one, or since the policy was
    written.
    """
    from datetime import datetime
    from zoneinfo import ZoneInfo

    def read(connection: Connection) -> tuple[dict[str, str], int]:
        texts = rows.current_texts(connection)
        runs = [run.at for run in rows.list_runs(connection, 1)]
        written = [version.at for scope in texts for version in rows.list_versions(connection, scope)[:1]]
        return texts, max([*runs, *written], default=0)

    texts, last = await services.catalog.read(read)
    if not texts:
        return {}
    policy = effective_policy(texts)
    if not policy.retention:
        return {}
    from cronsim import CronSim

    zone = ZoneInfo(policy.schedule.zone)
    due = next(CronSim(policy.schedule.cron, datetime.fromtimestamp(last / 1_000_000, zone)))
    if due.timestamp() * 1_000_000 > services.catalog.clock.now():
        return {}
    run, _plan = await run_retention(services, SYSTEM)
    return {"run": run.id, "state": run.state, "removed": run.removed}
