"""Which teams, and through them which people, a user may know of.

People know those they work with: their own teams, and the teams that have a role in a project whose members
they see. Whoever gives roles in some project picks from the names of all teams, and so learns no members.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from entrepot.server.access.decision.facts import parse_actions
from entrepot.server.access.decision.model import Action
from entrepot.server.access.decision.patterns import TagPattern
from entrepot.server.access.decision.policy import fits_tags
from entrepot.server.db.tables.access import access_grant, role, team_member
from entrepot.server.db.tables.projects import project

__all__ = ["EVERY_TEAM", "SeenTeams", "load_seen_teams"]


@dataclass(frozen=True, slots=True)
class SeenTeams:
    """Ids; None: all."""

    known: Collection[int] | None
    """Teams with their members."""
    named: Collection[int] | None
    """Teams by name."""


EVERY_TEAM: Final = SeenTeams(known=None, named=None)


def load_seen_teams(connection: Connection, user_id: int) -> SeenTeams:
    """What a user without a role in the registry sees."""
    mine = select(team_member.c.team_id).where(team_member.c.principal_id == user_id)
    known = set(connection.execute(mine).scalars())
    grants = connection.execute(
        select(access_grant.c.project_id, access_grant.c.tags, role.c.actions)
        .join(role, role.c.id == access_grant.c.role_id)
        .join(project, project.c.id == access_grant.c.project_id)
        .where(
            project.c.deleted_at.is_(None),
            access_grant.c.repositories.is_(None),  # a narrowed one says nothing about the project
            (access_grant.c.principal_id == user_id) | access_grant.c.team_id.in_(mine),
        )
    )
    projects, gives_roles = set(), False
    for project_id, tags, words in grants:
        pattern = TagPattern(tags) if tags else None
        held = {action for action in parse_actions(words) if fits_tags(pattern, action, None)}
        gives_roles = gives_roles or Action.MANAGE_MEMBERS in held
        if Action.READ_MEMBERS in held:
            projects.add(project_id)
    there = select(access_grant.c.team_id).where(
        access_grant.c.project_id.in_(projects), access_grant.c.team_id.is_not(None)
    )
    known.update(connection.execute(there).scalars())
    return SeenTeams(known=known, named=None if gives_roles else known)
