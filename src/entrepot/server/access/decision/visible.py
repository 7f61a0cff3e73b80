"""Which repositories a principal may see, from its grants: for lists, the catalog and search."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, or_, select

from entrepot.server.access.decision.facts import load_facts, parse_actions
from entrepot.server.access.decision.model import Action, Principal, PrincipalKind, Resource, SystemRole
from entrepot.server.access.decision.patterns import RepositoryPattern, Visible
from entrepot.server.access.decision.policy import PrincipalState
from entrepot.server.db.tables.access import access_grant, role, team_member

__all__ = ["load_visible"]

_GRANTS: Final = (
    select(access_grant.c.project_id, access_grant.c.repositories, role.c.actions)
    .join(role, role.c.id == access_grant.c.role_id)
    .where(
        or_(
            access_grant.c.principal_id == bindparam("p_id"),
            access_grant.c.team_id.in_(
                select(team_member.c.team_id).where(team_member.c.principal_id == bindparam("p_id"))
            ),
        )
    )
)


def load_visible(connection: Connection, who: Principal, now: int) -> Visible:
    """The filter; for a principal that is gone, what everybody sees."""
    if who.kind in {PrincipalKind.OPERATOR, PrincipalKind.SYSTEM}:
        return Visible(everything=True)
    facts = load_facts(connection, who, Resource(), now=now)
    only = None if facts.narrowing is None else facts.narrowing.repositories
    if facts.state is not PrincipalState.ACTIVE or facts.epoch != who.epoch or not facts.token_alive:
        return Visible(visibilities=("public",))
    if (
        facts.narrowing is not None
        and facts.narrowing.actions is not None
        and not (facts.narrowing.actions & {Action.READ, Action.PULL})
    ):
        return Visible(visibilities=())
    if facts.system_role in {SystemRole.ADMIN, SystemRole.AUDITOR}:
        return Visible(everything=True, only=only)
    whole: set[int] = set()
    patterns: set[tuple[int, str]] = set()
    for project_id, pattern, actions in connection.execute(_GRANTS, {"p_id": who.id}):
        if Action.READ in parse_actions(actions):
            if pattern is None:
                whole.add(project_id)
            else:
                patterns.add((project_id, pattern))
    return Visible(
        visibilities=("public", "signed-in") if who.kind is PrincipalKind.USER else ("public",),
        project_ids=tuple(sorted(whole)),
        patterns=tuple((pid, RepositoryPattern(text)) for pid, text in sorted(patterns) if pid not in whole),
        only=only,
    )
