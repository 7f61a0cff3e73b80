"""Why somebody may, or may not, do something: the decision, the rule, and every grant that was looked at."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from entrepot.errors import InvalidInput
from entrepot.server.access.accounts import get_account
from entrepot.server.access.facts import load_facts
from entrepot.server.access.model import ANONYMOUS, Action, Decision, Principal, PrincipalKind, Resource
from entrepot.server.access.policy import Facts, authorize, fits_tags

__all__ = ["Explanation", "explain", "parse_action", "parse_target"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with what led to it."""

    who: str
    action: Action
    resource: Resource
    decision: Decision
    facts: Facts
    steps: tuple[str, ...]
    """Sentences, in the order the rules are asked."""


def explain(
    connection: Connection,
    who: str,
    action: Action,
    resource: Resource,
    *,
    now: int,
    to_themselves: bool = False,
) -> Explanation:
    """`who` is a user's or robot's name, or `anonymous`. Raises Unknown.

    `to_themselves`: they are told nothing of a project they may not know.
    """
    principal = _principal(connection, who)
    facts = load_facts(connection, principal, resource, now=now)
    decision = authorize(facts, principal, action, resource)
    if to_themselves and not facts.grants:
        seen = authorize(facts, principal, Action.READ, resource)
        if not seen.allowed:
            steps = _hidden_steps(facts, principal, resource)
            return Explanation(who, action, resource, decision, facts, tuple(steps))
    return Explanation(
        who, action, resource, decision, facts, tuple(_steps(facts, principal, action, resource))
    )


def parse_action(text: str) -> Action:
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


def _hidden_steps(facts: Facts, principal: Principal, resource: Resource) -> list[str]:
    """The same whether the project is there or not."""
    steps = _own_steps(facts, principal)
    if resource.project_name is not None:
        steps.append(f"no grant in {resource.project_name}, or there is no such project")
    return steps


def _own_steps(facts: Facts, principal: Principal) -> list[str]:
    if principal.is_anonymous:
        return []
    source = "" if facts.source == "local" else f" from {facts.source}"
    return [
        f"{principal} is a {principal.kind}{source}, {facts.state}",
        f"system role: {facts.system_role or 'none'}",
    ]


def _steps(facts: Facts, principal: Principal, action: Action, resource: Resource) -> list[str]:
    steps = _own_steps(facts, principal)
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
