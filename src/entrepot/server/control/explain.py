"""Why somebody may, or may not, do something: the decision, the rule, and every grant that was looked at."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import PermitRefused, Unknown
from entrepot.server.access.decision.facts import load_facts
from entrepot.server.access.decision.model import (
    ANONYMOUS,
    Action,
    Decision,
    Principal,
    PrincipalKind,
    Resource,
)
from entrepot.server.access.decision.policy import AccessFacts, authorize, fits_tags
from entrepot.server.access.directory.accounts import get_account
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, look

__all__ = ["Explanation", "explain", "parse_target"]


class _Told(enum.Enum):
    """How much whoever asks may know."""

    EVERYTHING = enum.auto()
    OF_THEMSELVES = enum.auto()
    """Nothing of a project they may not know."""
    OF_MEMBERS = enum.auto()
    """Who has a role in the project, and what that gives; nobody else, and no role in the registry."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with what led to it."""

    who: str
    action: Action
    resource: Resource
    decision: Decision
    facts: AccessFacts
    steps: tuple[str, ...]
    """Sentences, in the order the rules are asked."""


async def explain(services: Services, actor: Actor, who: str, action: str, resource: Resource) -> Explanation:
    """`who` is a user's or robot's name, or `anonymous`.

    Raises Unknown, also for who may not be known of; InvalidInput for an action there is not; AccessDenied.
    """

    def see(t: Transaction) -> Explanation:
        told = _told(t, who, resource)
        if t.access.mode == "open" and t.actor.principal.kind is not PrincipalKind.OPERATOR:
            raise PermitRefused("this registry has no accounts; everybody may do everything")
        return _explain(t.connection, who, _parse_action(action), resource, now=t.now, told=told)

    return await look(services, actor, see)


def _told(t: Transaction, who: str, resource: Resource) -> _Told:
    """Who may ask about whom: whoever sees the registry as a whole about all; everybody about themselves; who
    sees the members of a project about those. Raises AccessDenied.
    """
    if t.may(Action.READ_SYSTEM):
        return _Told.EVERYTHING
    if who == t.actor.principal.name:
        t.require(Action.MANAGE_SELF)
        return _Told.OF_THEMSELVES
    t.require(
        Action.READ_MEMBERS if resource.repository else Action.READ_SYSTEM,
        repository=resource.repository,
        tag=resource.tag,
    )
    return _Told.OF_MEMBERS


def _explain(
    connection: Connection, who: str, action: Action, resource: Resource, *, now: int, told: _Told
) -> Explanation:
    principal = _principal(connection, who) if told is not _Told.OF_MEMBERS else _member(connection, who)
    facts = load_facts(connection, principal, resource, now=now)
    if told is _Told.OF_MEMBERS:
        if not principal.is_anonymous and not facts.grants:
            raise _no_member(who)
        facts = replace(facts, system_role=None, may_create_projects=False)
    decision = authorize(facts, principal, action, resource)
    if told is _Told.OF_THEMSELVES and not facts.grants:
        seen = authorize(facts, principal, Action.READ, resource)
        if not seen.allowed:
            steps = _hidden_steps(facts, principal, resource)
            return Explanation(who, action, resource, decision, facts, tuple(steps))
    steps = _steps(facts, principal, action, resource, by_grants_alone=told is _Told.OF_MEMBERS)
    return Explanation(who, action, resource, decision, facts, tuple(steps))


def _parse_action(text: str) -> Action:
    """Raises InvalidInput with the actions there are."""
    try:
        return Action(text)
    except ValueError:
        raise InvalidInput(
            f"no action is called {text}",
            hint="actions: " + ", ".join(sorted(action.value for action in Action)),
        ) from None


def parse_target(text: str) -> Resource:
    """`acme/app`, `acme/app:v1`; empty is the registry itself."""
    if not text:
        return Resource()
    repository, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        return Resource(repository=text)
    return Resource(repository=repository, tag=tag)


def _principal(connection: Connection, who: str) -> Principal:
    if who == "anonymous":
        return ANONYMOUS
    account = get_account(connection, who)
    return Principal(kind=PrincipalKind(account.kind), name=account.name, id=account.id, epoch=account.epoch)


def _member(connection: Connection, who: str) -> Principal:
    """Raises Unknown, as for somebody who has no role there."""
    try:
        return _principal(connection, who)
    except Unknown:
        raise _no_member(who) from None


def _no_member(who: str) -> Unknown:
    return Unknown(f"nobody called {who} has a role in this project")


def _hidden_steps(facts: AccessFacts, principal: Principal, resource: Resource) -> list[str]:
    """The same whether the project is there or not."""
    steps = _own_steps(facts, principal)
    if resource.project_name is not None:
        steps.append(f"no grant in {resource.project_name}, or there is no such project")
    return steps


def _own_steps(facts: AccessFacts, principal: Principal, *, by_grants_alone: bool = False) -> list[str]:
    if principal.is_anonymous:
        return []
    if by_grants_alone:
        return [f"{principal} is a {principal.kind}, {facts.state}", "by the project's grants alone"]
    source = "" if facts.source == "local" else f" from {facts.source}"
    return [
        f"{principal} is a {principal.kind}{source}, {facts.state}",
        f"system role: {facts.system_role or 'none'}",
    ]


def _steps(
    facts: AccessFacts, principal: Principal, action: Action, resource: Resource, *, by_grants_alone: bool
) -> list[str]:
    steps = _own_steps(facts, principal, by_grants_alone=by_grants_alone)
    if resource.project_name is not None:
        if facts.project_id is None:
            steps.append(f"there is no project {resource.project_name}")
            creators = (
                "any signed-in user"
                if facts.project_creation == "signed-in"
                else "admins and those granted it"
            )
            steps.append(f"who may create a project by pushing: {creators}")
        else:
            steps.append(f"project {resource.project_name} is {facts.visibility}")
    if facts.read_only:
        steps.append("the registry is read-only")
    for grant in facts.grants:
        parts = [f"role {grant.role}{f' through team {grant.team}' if grant.team else ''}"]
        if grant.repositories:
            fits = resource.repository is not None and grant.repositories.matches(resource.repository)
            parts.append(f"for {grant.repositories.text} ({'fits' if fits else 'does not fit'})")
        if grant.tags:
            fits = fits_tags(grant.tags, action, resource.tag)
            parts.append(f"tags {grant.tags.text} ({'fits' if fits else 'does not fit'})")
        parts.append(f"{'holds' if action in grant.actions else 'does not hold'} {action} (grant {grant.id})")
        steps.append(", ".join(parts))
    if facts.project_id is not None and not facts.grants:
        steps.append("no grant in this project")
    return steps
