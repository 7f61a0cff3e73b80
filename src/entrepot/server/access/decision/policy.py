"""The one decision: `authorize(facts, principal, action, resource)`. Pure, default deny.

The rules in order; the first that has an opinion decides:

0. the registry itself, and whoever runs its commands on its own machine, may all
1. the principal exists, is enabled, not expired, and its credentials are not older than its epoch, nor than
   its entry at a sign-in source
2. the token it came with still exists
3. a bearer token speaks for the repository as it was when the token was made
4. a personal access token or robot narrowing holds the action and the repository
5. asking for itself (`ping`, `list`, `search`, `manage-self`)
6. a read-only registry refuses changes
7. the system roles: admin may all, auditor reads all
8. creating a project
9. the project's visibility
10. robots see people only where they look after them
11. a grant, of the principal or of a team it is in; of one narrowed to tags, what `fits_tags` leaves
12. nothing allowed it: no

A refusal says the same about what does not exist as about what the caller may not know.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

from entrepot.server.access.decision.model import (
    EVERY_TAG,
    Action,
    Decision,
    Principal,
    PrincipalKind,
    Resource,
    Ruling,
    SystemRole,
    TokenScope,
    Visibility,
)
from entrepot.server.access.decision.patterns import RepositoryPattern, TagPattern
from entrepot.server.access.decision.roles import VISIBLE_ACTIONS

__all__ = [
    "READ_ACTIONS",
    "WIRE_ACTIONS",
    "AccessFacts",
    "Grant",
    "Narrowing",
    "PrincipalState",
    "ProjectCreation",
    "authorize",
    "fits_tags",
    "granted_wire_actions",
]

READ_ACTIONS: Final = frozenset(
    {Action.READ, Action.PULL, Action.READ_MEMBERS, Action.READ_AUDIT, Action.READ_SYSTEM}
)
"""What an auditor may do anywhere. Everything else changes something."""

_TRUSTED: Final = frozenset({PrincipalKind.OPERATOR, PrincipalKind.SYSTEM})
_ASKING: Final = frozenset({Action.PING, Action.LIST, Action.SEARCH})
_WHATEVER_TAG: Final = frozenset(
    {
        Action.READ,
        Action.PULL,
        Action.PUSH,
        Action.CREATE_REPOSITORY,
        Action.READ_MEMBERS,
        Action.READ_AUDIT,
    }
)
"""What a grant narrowed to tags holds all the same: it takes nothing from the other tags."""
_OF_A_TAG: Final = frozenset(
    {
        Action.CREATE_TAG,
        Action.OVERWRITE_TAG,
        Action.DELETE_TAG,
        Action.DELETE_MANIFEST,
        Action.RESTORE,
        Action.MANAGE_ROBOTS,
    }
)
"""What such a grant holds for its tags: a manifest goes by the tags that are on it, a robot by those of its
grants. What is in neither set is about all that is in the repository or project, and asks for a grant that is
not narrowed to tags.
"""
_PUSH_ACTIONS: Final = frozenset(
    {Action.PUSH, Action.CREATE_TAG, Action.OVERWRITE_TAG, Action.CREATE_REPOSITORY, Action.CREATE_PROJECT}
)

WIRE_ACTIONS: Final[dict[Action, str]] = {
    Action.READ: "read",
    Action.PULL: "pull",
    **dict.fromkeys(_PUSH_ACTIONS, "push"),
    Action.DELETE_TAG: "delete",
    Action.DELETE_MANIFEST: "delete",
    Action.DELETE_BLOB: "delete",
}
"""The word a bearer token's scope has for an action. Actions without one need other credentials."""

_DELETES: Final = (Action.DELETE_TAG, Action.DELETE_MANIFEST, Action.DELETE_BLOB)
_MEANS: Final = {"pull": (Action.PULL,), "push": (Action.PUSH,), "delete": _DELETES}
_MEANS_ELSEWHERE: Final = {**_MEANS, "push": (Action.PUSH, Action.CREATE_TAG, Action.OVERWRITE_TAG)}

_LOOKS_AFTER_PEOPLE: Final = frozenset({Action.MANAGE_MEMBERS, Action.MANAGE_ROBOTS})


class PrincipalState(enum.StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"
    GONE = "gone"


class ProjectCreation(enum.StrEnum):
    """Who may create a project by pushing to it. Admins always may, and those granted it."""

    ADMINS = "admins"
    SIGNED_IN = "signed-in"


@dataclass(frozen=True, slots=True)
class Grant:
    """A role given to a principal or a team within a project."""

    id: int
    role: str
    actions: frozenset[Action]
    repositories: RepositoryPattern | None = None
    """None: the whole project."""
    tags: TagPattern | None = None
    """None: every tag. What that leaves of the actions: `fits_tags`."""
    team: str | None = None
    """The team it reaches the principal through."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a personal access token keeps of its owner's rights."""

    actions: frozenset[Action] | None = None
    repositories: tuple[RepositoryPattern, ...] | None = None


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """What is true at the moment of the decision, read in one query."""

    state: PrincipalState = PrincipalState.ACTIVE
    epoch: int = 0
    system_role: SystemRole | None = None
    may_create_projects: bool = False
    token_alive: bool = True
    """False: the token the principal came with was revoked or has expired."""
    narrowing: Narrowing | None = None
    project_id: int | None = None
    """None: no such project."""
    visibility: Visibility = Visibility.PRIVATE
    repository_id: int | None = None
    """None: no such repository."""
    grants: tuple[Grant, ...] = ()
    project_creation: ProjectCreation = ProjectCreation.ADMINS
    read_only: bool = False
    holds_until: int | None = None
    """Microseconds since 1970 at which a term in here runs out; None: no term."""
    source: str = "local"
    """Where the principal signs in; a source may know better whether it still exists."""
    entry: str = ""
    """Mark of the principal's entry at that source now; empty: not known."""


def authorize(facts: AccessFacts, principal: Principal, action: Action, resource: Resource) -> Decision:
    """Decide. The Decision carries the rule that decided and a sentence for people."""
    if principal.kind in _TRUSTED:
        return Decision(
            True, principal.kind.value, "whoever runs the server's own commands may do everything"
        )
    refused = _principal_is_good(facts, principal) or _token_speaks_for(facts, principal, action, resource)
    if refused is None:
        return _rights(facts, principal, action, resource)
    if refused.rule == "token-scope":
        # The token is narrow because its owner has no more: say that, it is what can be mended.
        rights = _rights(facts, principal, action, resource)
        return refused if rights.allowed else replace(refused, reason=rights.reason)
    return refused


def _rights(facts: AccessFacts, principal: Principal, action: Action, resource: Resource) -> Decision:
    return (
        _narrowed(facts, principal, action, resource)
        or _asking(principal, action)
        or _read_only(facts, action)
        or _system_role(facts, principal, action)
        or _creates_project(facts, principal, action, resource)
        or _visibility(facts, principal, action, resource)
        or _people(facts, principal, action, resource)
        or _grants(facts, principal, action, resource)
        or _refusal(facts, principal, action, resource)
    )


def granted_wire_actions(
    facts: AccessFacts,
    principal: Principal,
    repository: str,
    wanted: frozenset[str],
    *,
    for_other_registry: bool = False,
) -> frozenset[str]:
    """Of the wire actions asked for, those the principal has. Who may only see gets `read` for `pull`.

    Here each request is decided again by its own action. Another registry goes by the wire actions alone, so
    a token for it holds one only for whoever has all that it lets them do there, to every tag.
    """
    resource = Resource(repository=repository, tag=EVERY_TAG if for_other_registry else None)
    asked = wanted if "*" not in wanted else frozenset(_MEANS)
    enough = all if for_other_registry else any
    granted = {
        wire
        for wire, actions in (_MEANS_ELSEWHERE if for_other_registry else _MEANS).items()
        if wire in asked and enough(authorize(facts, principal, one, resource).allowed for one in actions)
    }
    if "*" in wanted and granted == asked:
        granted.add("*")
    if (
        "pull" in asked
        and "pull" not in granted
        and authorize(facts, principal, Action.READ, resource).allowed
    ):
        granted.add("read")
    return frozenset(granted)


def _allow(rule: str, reason: str) -> Decision:
    return Decision(allowed=True, rule=rule, reason=reason)


def _deny(rule: str, reason: str) -> Decision:
    return Decision(allowed=False, rule=rule, reason=reason, answer=Ruling.DENIED)


def _challenge(rule: str, reason: str, error: str | None = None) -> Decision:
    return Decision(allowed=False, rule=rule, reason=reason, answer=Ruling.CHALLENGE, challenge_error=error)


def _principal_is_good(facts: AccessFacts, principal: Principal) -> Decision | None:
    if principal.is_anonymous:
        return None
    error = "invalid_token" if principal.scopes is not None else None
    if facts.state is not PrincipalState.ACTIVE:
        return _challenge(f"principal-{facts.state}", f"the account {principal} cannot be used", error)
    is_another = facts.entry and principal.entry and facts.entry != principal.entry
    if facts.epoch != principal.epoch or is_another:
        return _challenge(
            "principal-epoch", f"the credentials of {principal} were revoked; sign in again", error
        )
    if not facts.token_alive:
        return _challenge("token-revoked", "the token was revoked or has expired; sign in again", error)
    return None


def _token_speaks_for(
    facts: AccessFacts, principal: Principal, action: Action, resource: Resource
) -> Decision | None:
    """Compare what a bearer token was made for with what is asked and what is there now."""
    if principal.scopes is None or action in {Action.PING, Action.SEARCH}:
        return None
    scope = _scope_for(principal.scopes, "" if action is Action.LIST else resource.repository)
    wire = WIRE_ACTIONS.get(action)
    if action is Action.LIST:
        covered = scope is not None
    else:
        covered = scope is not None and wire is not None and (wire in scope.actions or _implied(wire, scope))
    if scope is None or not covered:
        return _challenge(
            "token-scope", f"the token does not hold {wire or action} on {resource}", "insufficient_scope"
        )
    if scope.project_id is not None and scope.project_id != facts.project_id:
        return _challenge(
            "token-project", f"{resource} is not the one the token was made for", "invalid_token"
        )
    if scope.repository_id is not None and scope.repository_id != facts.repository_id:
        return _challenge(
            "token-generation", f"{resource} is not the one the token was made for", "invalid_token"
        )
    return None


def _scope_for(scopes: tuple[TokenScope, ...], repository: str | None) -> TokenScope | None:
    return next((scope for scope in scopes if scope.repository == repository), None)


def _implied(wire: str, scope: TokenScope) -> bool:
    return wire == "read" and bool(scope.actions)


def _narrowed(
    facts: AccessFacts, principal: Principal, action: Action, resource: Resource
) -> Decision | None:
    narrowing = facts.narrowing
    if narrowing is None or action in _ASKING:
        return None
    if narrowing.actions is not None and action not in narrowing.actions:
        return _deny("token-actions", f"the token of {principal} does not hold the action {action}")
    if narrowing.repositories is not None and not (
        resource.repository and any(p.matches(resource.repository) for p in narrowing.repositories)
    ):
        return _deny("token-repositories", f"the token of {principal} is not for {resource}")
    return None


def _asking(principal: Principal, action: Action) -> Decision | None:
    """Asking is free, but `/v2/` and the catalog want at least an anonymous token: log-in gets checked."""
    if action is Action.SEARCH:
        return _allow("search", "search shows what the caller may see")
    if action in {Action.PING, Action.LIST}:
        if principal.is_anonymous and principal.scopes is None:
            return _challenge("sign-in", "sign in, or ask for an anonymous token")
        return _allow("asking", "the credentials are good")
    if action is Action.MANAGE_SELF and not principal.is_anonymous:
        return _allow("self", "everybody looks after their own account")
    return None


def _read_only(facts: AccessFacts, action: Action) -> Decision | None:
    if facts.read_only and action not in READ_ACTIONS and action is not Action.MANAGE_SYSTEM:
        return _deny("read-only", "the registry is read-only at the moment")
    return None


def _system_role(facts: AccessFacts, principal: Principal, action: Action) -> Decision | None:
    if facts.system_role is SystemRole.ADMIN:
        return _allow("system:admin", f"{principal} is an admin")
    if facts.system_role is SystemRole.AUDITOR and action in READ_ACTIONS:
        return _allow("system:auditor", f"{principal} is an auditor, who may read everything")
    if action is Action.MANAGE_UPSTREAMS and _is_registry_robot(principal):
        return _allow("system:robot", f"{principal} is a robot of the registry, and may bring notifications")
    return None


def _is_registry_robot(principal: Principal) -> bool:
    """Only admins make those."""
    return principal.kind is PrincipalKind.ROBOT and principal.name.startswith("+")


def _creates_project(
    facts: AccessFacts, principal: Principal, action: Action, resource: Resource
) -> Decision | None:
    """In a project that does not exist, pushing is creating it."""
    wants = action is Action.CREATE_PROJECT or (
        facts.project_id is None and resource.repository is not None and action in _PUSH_ACTIONS
    )
    if not wants or principal.is_anonymous:
        return None
    if facts.may_create_projects:
        return _allow("may-create-projects", f"{principal} may create projects")
    if facts.project_creation is ProjectCreation.SIGNED_IN and principal.kind is PrincipalKind.USER:
        return _allow("project-creation:signed-in", "any signed-in user may create projects here")
    return None


def _visibility(
    facts: AccessFacts, principal: Principal, action: Action, resource: Resource
) -> Decision | None:
    if facts.project_id is None or action not in VISIBLE_ACTIONS:
        return None
    if facts.visibility is Visibility.PUBLIC:
        return _allow("visibility:public", f"{resource.project_name} is public")
    if facts.visibility is Visibility.SIGNED_IN and principal.kind is PrincipalKind.USER:
        return _allow("visibility:signed-in", f"{resource.project_name} is open to signed-in users")
    return None


def _people(facts: AccessFacts, principal: Principal, action: Action, resource: Resource) -> Decision | None:
    if action is not Action.READ_MEMBERS or principal.kind is not PrincipalKind.ROBOT:
        return None
    if any(grant.actions & _LOOKS_AFTER_PEOPLE for grant in facts.grants):
        return None
    return _deny("people", f"{principal} is a robot that looks after nobody in {resource.project_name}")


def _grants(facts: AccessFacts, principal: Principal, action: Action, resource: Resource) -> Decision | None:
    if facts.project_id is None:
        return None
    for grant in facts.grants:
        if action in grant.actions and _covers(grant, action, resource):
            through = f" through team {grant.team}" if grant.team else ""
            return _allow(
                f"grant:{grant.id}", f"{principal} is {grant.role}{through} in {_where(grant, resource)}"
            )
    return None


def _covers(grant: Grant, action: Action, resource: Resource) -> bool:
    return _fits_repository(grant, action, resource) and fits_tags(grant.tags, action, resource.tag)


def _fits_repository(grant: Grant, action: Action, resource: Resource) -> bool:
    if grant.repositories is None:
        return True
    if resource.repository is None:  # who sees one repository sees that the project is there
        return action is Action.READ
    return grant.repositories.matches(resource.repository)


def fits_tags(narrowed_to: TagPattern | None, action: Action, tag: str | None) -> bool:
    """Whether a grant narrowed to these tags holds an action of its role, on what `Resource.tag` says."""
    if narrowed_to is None or action in _WHATEVER_TAG:
        return True
    if action in _OF_A_TAG:
        return tag is None or narrowed_to.matches(tag)
    return narrowed_to.matches(EVERY_TAG)


def _where(grant: Grant, resource: Resource) -> str:
    text = grant.repositories.text if grant.repositories else resource.project_name or ""
    return f"{text} for tags {grant.tags.text}" if grant.tags else text


def _refusal(facts: AccessFacts, principal: Principal, action: Action, resource: Resource) -> Decision:
    if principal.is_anonymous:
        return _challenge("sign-in", f"sign in to {action} on {resource}")
    missed = _nearest_miss(facts.grants, action, resource)
    return _deny("no-grant", f"{principal} may not {action} on {resource}: {missed}")


def _nearest_miss(grants: tuple[Grant, ...], action: Action, resource: Resource) -> str:
    """What is in the way of the grant that comes nearest to allowing it: its tags, then its repositories,
    then what its role holds.
    """
    holding = [grant for grant in grants if action in grant.actions]
    for grant in holding:
        if grant.tags and _fits_repository(grant, action, resource):
            return f"{_role_of(grant)} is for tags {grant.tags.text} alone"
    for grant in holding:
        if grant.repositories:
            return f"{_role_of(grant)} is for {grant.repositories.text} alone"
    roles = list(dict.fromkeys(grant.role for grant in grants))
    if not roles:
        return f"no grant holds the action {action}"
    if len(roles) == 1:
        return f"the role {roles[0]} does not hold it"
    return f"the roles {', '.join(roles[:-1])} and {roles[-1]} do not hold it"


def _role_of(grant: Grant) -> str:
    return f"the role {grant.role}, through team {grant.team}," if grant.team else f"the role {grant.role}"
