"""The policy of the registry and of each project: shown, previewed on what is here, put in force."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from entrepot.errors import Conflict, NotFound
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory.projects import get_project
from entrepot.server.control.queries import policies as rows
from entrepot.server.control.queries.policies import PolicyText
from entrepot.server.control.retention import Before, effective_policy, make_plan, moment
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look
from entrepot.server.db.clock import microseconds
from entrepot.server.policies.immutability import immutable_by, told
from entrepot.server.policies.model import Policy
from entrepot.server.policies.plan import RetentionPlan

__all__ = [
    "PolicyPreview",
    "PolicyText",
    "Refusal",
    "apply_policy",
    "list_policy_versions",
    "plan_policy",
    "show_policy",
]

LOOKED_BACK_S: Final = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A move of a tag in the last thirty days that a rule would have refused."""

    number: int
    """Of the event."""
    repository: str
    tag: str
    what: str
    """`overwritten` or `deleted`."""
    rule: str
    at: int
    by: str


@dataclass(frozen=True, slots=True)
class PolicyPreview:
    """What a text would change, on what is here now."""

    scope: str
    base: int
    """Version that holds now; 0: none."""
    diff: list[str]
    """Lines, as `diff -u` has them; empty: nothing changes."""
    plan: RetentionPlan
    refused: list[Refusal]
    last_event: int


async def show_policy(
    services: Services, actor: Actor, *, project: str | None = None, version: int | None = None
) -> PolicyText:
    """The text that holds, or an earlier version; an empty one of version 0 when there is none.

    Raises Unknown (the project), NotFound (the version).
    """
    found = await list_policy_versions(services, actor, project=project)
    if version is None:
        return found[0] if found else PolicyText(project or "", 0, "", 0, "")
    for one in found:
        if one.version == version:
            return one
    raise NotFound(f"there is no version {version} of this policy")


async def list_policy_versions(
    services: Services, actor: Actor, *, project: str | None = None
) -> list[PolicyText]:
    """Newest first. Raises Unknown (the project)."""

    def see(t: Transaction) -> list[PolicyText]:
        _require(t, project, to_change=False)
        return rows.list_versions(t.connection, project or "")

    return await look(services, actor, see)


async def plan_policy(
    services: Services, actor: Actor, text: str, *, project: str | None = None
) -> PolicyPreview:
    """Nothing changes, but that `apply_policy` knows what was shown. Raises InvalidPolicy, Unknown."""
    preview = await _preview(services, actor, text, project)

    def do(t: Transaction) -> None:
        _require(t, project, to_change=True)
        shown = {
            "base": preview.base,
            "removed": sorted(_key(row) for row in preview.plan.removed),
            "refused": [one.number for one in preview.refused],
            "last_event": preview.last_event,
        }
        rows.note_preview(t.connection, preview.scope, _hash(text), shown, t.now)

    await change(services, actor, do)
    return preview


async def apply_policy(
    services: Services, actor: Actor, text: str, *, project: str | None = None
) -> PolicyText:
    """Put the text in force. When a plan of it was shown, what it would remove and refuse must be the same
    still, but for what pushes have changed.

    Raises Conflict with what differs, InvalidPolicy, Unknown. Applying what holds changes nothing.
    """
    scope = project or ""

    def see(t: Transaction) -> dict[str, Any] | None:
        _require(t, project, to_change=True)
        return rows.find_preview(t.connection, scope, _hash(text))

    shown = await look(services, actor, see)
    preview = await _preview(services, actor, text, project)
    if shown is not None:
        await _require_as_shown(services, preview, shown, text, project)

    def do(t: Transaction) -> None:
        _require(t, project, to_change=True)
        versions = rows.list_versions(t.connection, scope)
        present = versions[0].version if versions else 0
        if present != preview.base:
            raise _changed_meanwhile(preview.base, present)
        if versions and versions[0].text == text:
            return
        made = rows.add_version(t.connection, scope, text, at=t.now, by=t.actor.name)
        oldest = t.now - microseconds(LOOKED_BACK_S)
        rows.forget_previews(t.connection, scope, _hash(text), older_than=oldest)
        detail = {"version": made, "project": project} if project else {"version": made}
        record(t.connection, t.actor, "change-policy", now=t.now, detail=detail)

    await change(services, actor, do)
    return await show_policy(services, actor, project=project)


def _require(t: Transaction, project: str | None, *, to_change: bool) -> None:
    if project is None:
        t.require(Action.MANAGE_SYSTEM if to_change else Action.READ_SYSTEM)
        return
    t.require(Action.MANAGE_PROJECT, project=project)
    get_project(t.connection, project)


async def _preview(services: Services, actor: Actor, text: str, project: str | None) -> PolicyPreview:
    from entrepot.server.policies.document import parse_policy

    scope = project or ""
    parsed = parse_policy(text, project)
    clock = services.catalog.clock
    since = clock.steady() - microseconds(LOOKED_BACK_S)

    def see(t: Transaction) -> tuple[Policy, Policy, list[PolicyText], int, list[Any]]:
        _require(t, project, to_change=True)
        texts = rows.current_texts(t.connection)
        before, after = effective_policy(texts), effective_policy({**texts, scope: text})
        versions = rows.list_versions(t.connection, scope)
        moves = list(rows.moves_since(t.connection, since=since)) if parsed.immutable else []
        return before, after, versions, rows.last_event(t.connection), moves

    before, after, versions, last_event, moves = await look(services, actor, see)
    plan = await make_plan(services, after, moment(services), project=project)
    old = versions[0].text if versions else ""
    return PolicyPreview(
        scope=scope,
        base=versions[0].version if versions else 0,
        diff=_diff(old, text),
        plan=plan,
        refused=_refused(before, after, moves),
        last_event=last_event,
    )


def _diff(old: str, new: str) -> list[str]:
    return list(difflib.unified_diff(old.splitlines(), new.splitlines(), "now", "then", lineterm=""))


def _refused(before: Policy, after: Policy, moves: list[Any]) -> list[Refusal]:
    """Those that the policy of today lets through."""
    found = []
    for move in moves:
        if move.old is None or move.old == move.new:
            continue
        rule = immutable_by(after.immutable, move.repository, move.name)
        if rule is None or immutable_by(before.immutable, move.repository, move.name) is not None:
            continue
        what = "deleted" if move.new is None else "overwritten"
        found.append(Refusal(move.seq, move.repository, move.name, what, told(rule), move.at, move.by))
    return found


async def _require_as_shown(
    services: Services, preview: PolicyPreview, shown: Mapping[str, Any], text: str, project: str | None
) -> None:
    """Raises Conflict. Pushes since then may displace what was to stay, and are no reason: the plan is made
    again without them.
    """
    if shown["base"] != preview.base:
        raise _changed_meanwhile(shown["base"], preview.base)
    then = {tuple(row) for row in shown["removed"]}
    differs = then ^ {_key(row) for row in preview.plan.removed}
    if differs:

        def read(connection: Connection) -> tuple[Policy, dict[tuple[str, str], Before | None]]:
            texts = {**rows.current_texts(connection), (project or ""): text}
            return effective_policy(texts), rows.before_pushes(connection, shown["last_event"])

        policy, before = await services.catalog.read(read)
        if before:
            plan = await make_plan(services, policy, moment(services), project=project, before=before)
            differs = then ^ {_key(row) for row in plan.removed}
    oldest = min((one.number for one in preview.refused), default=0)
    refused_then = {number for number in shown["refused"] if number >= oldest}
    refused = {one.number for one in preview.refused if one.number <= shown["last_event"]}
    if not differs and (refused_then == refused or not refused):
        return
    if differs:
        repository, name, digest = min(differs)
        what = f"{repository}:{name}" if name else f"{repository}@{digest}"
        was = (
            "was to be removed, and is not any more"
            if (repository, name, digest) in then
            else ("would be removed, and was not to be")
        )
        told_ = f"{what} {was}"
        more = f" (and {len(differs) - 1} more)" if len(differs) > 1 else ""
    else:
        told_, more = "other pushes would have been refused", ""
    raise Conflict(
        f"since the plan was shown, what the policy would do has changed: {told_}{more}",
        hint="look at it again: entrepot admin policy plan FILE",
    )


def _changed_meanwhile(then: int, now: int) -> Conflict:
    return Conflict(
        f"somebody else changed the policy meanwhile: it was version {then}, and is version {now}",
        hint="look at it again: entrepot admin policy plan FILE",
    )


def _key(row: Any) -> tuple[str, str, str]:
    return (row.repository, row.tag, row.digest)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
