"""What `authorize` decides from, in one point query: principal, token, project, repository, grants, settings.

The same statement runs on the hot path and inside write transactions, so both decide alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, bindparam, literal, or_, select

from entrepot.server.access.decision.model import Action, Principal, Resource, SystemRole, Visibility
from entrepot.server.access.decision.patterns import RepositoryPattern, TagPattern
from entrepot.server.access.decision.policy import (
    AccessFacts,
    Grant,
    Narrowing,
    PrincipalState,
    ProjectCreation,
)
from entrepot.server.access.decision.roles import with_implied
from entrepot.server.db.tables.access import access_grant, access_token, principal, role, team, team_member
from entrepot.server.db.tables.projects import project, repo
from entrepot.server.db.tables.setting import setting

__all__ = ["FACTS", "PROJECT_CREATION", "READ_ONLY", "facts_from_rows", "facts_params", "load_facts"]

PROJECT_CREATION: Final = "access.project_creation"
READ_ONLY: Final = "access.read_only"

_NO_TOKEN: Final = ""


def _setting(name: str) -> Any:
    return select(setting.c.value).where(setting.c.name == literal(name)).scalar_subquery()


_one = select(literal(1).label("one")).subquery("one")
_principal_id: Final[Any] = bindparam("principal_id")
_home = project.alias("home")
"""A robot's; it goes and comes back with it."""

FACTS: Final = (
    select(
        principal.c.enabled,
        principal.c.expires_at,
        principal.c.epoch,
        principal.c.system_role,
        principal.c.may_create_projects,
        principal.c.source,
        _home.c.deleted_at,
        access_token.c.id,
        access_token.c.expires_at,
        access_token.c.actions,
        access_token.c.repositories,
        project.c.id,
        project.c.visibility,
        repo.c.id,
        _setting(PROJECT_CREATION),
        _setting(READ_ONLY),
        access_grant.c.id,
        access_grant.c.repositories,
        access_grant.c.tags,
        role.c.name,
        role.c.actions,
        team.c.name,
    )
    .select_from(_one)
    .outerjoin(principal, principal.c.id == _principal_id)
    .outerjoin(_home, _home.c.id == principal.c.project_id)
    .outerjoin(
        access_token,
        (access_token.c.id == bindparam("token_id")) & (access_token.c.principal_id == _principal_id),
    )
    .outerjoin(project, (project.c.name == bindparam("project")) & project.c.deleted_at.is_(None))
    .outerjoin(repo, (repo.c.name == bindparam("repository")) & repo.c.deleted_at.is_(None))
    .outerjoin(
        access_grant,
        (access_grant.c.project_id == project.c.id)
        & or_(
            access_grant.c.principal_id == _principal_id,
            access_grant.c.team_id.in_(
                select(team_member.c.team_id).where(team_member.c.principal_id == _principal_id)
            ),
        ),
    )
    .outerjoin(role, role.c.id == access_grant.c.role_id)
    .outerjoin(team, team.c.id == access_grant.c.team_id)
)


def facts_params(who: Principal, resource: Resource) -> dict[str, Any]:
    return {
        "principal_id": who.id,
        "token_id": who.token_id or _NO_TOKEN,
        "project": resource.project_name or "",
        "repository": resource.repository or "",
    }


def load_facts(connection: Connection, who: Principal, resource: Resource, *, now: int) -> AccessFacts:
    """Inside a transaction."""
    rows = connection.execute(FACTS, facts_params(who, resource)).all()
    return facts_from_rows([tuple(row) for row in rows], who, now=now)


def facts_from_rows(rows: Sequence[tuple[Any, ...]], who: Principal, *, now: int) -> AccessFacts:
    """`now` in microseconds, as every moment in the catalog."""
    (
        enabled, expires_at, epoch, system_role, may_create, source, home_deleted_at,
        token, token_expires_at, token_actions, token_repositories,
        project_id, visibility, repository_id, creation, read_only, *_,
    ) = rows[0]  # fmt: skip
    return AccessFacts(
        state=_state(enabled, expires_at, now) if home_deleted_at is None else PrincipalState.GONE,
        epoch=epoch or 0,
        system_role=SystemRole(system_role) if system_role else None,
        may_create_projects=bool(may_create),
        token_alive=who.token_id is None
        or (token is not None and (token_expires_at is None or now < token_expires_at)),
        narrowing=_narrowing(token_actions, token_repositories),
        project_id=project_id,
        visibility=Visibility(visibility) if visibility else Visibility.PRIVATE,
        repository_id=repository_id,
        grants=tuple(_grant(row[16:]) for row in rows if row[16] is not None),
        project_creation=ProjectCreation(creation) if creation else ProjectCreation.ADMINS,
        read_only=read_only == "true",
        holds_until=min(
            (term for term in (expires_at, token_expires_at) if term is not None and now < term), default=None
        ),
        source=source or "local",
    )


def _state(enabled: Any, expires_at: int | None, now: int) -> PrincipalState:
    if enabled is None:
        return PrincipalState.GONE
    if not enabled:
        return PrincipalState.DISABLED
    if expires_at is not None and now >= expires_at:
        return PrincipalState.EXPIRED
    return PrincipalState.ACTIVE


def _narrowing(actions: str | None, repositories: str | None) -> Narrowing | None:
    if actions is None and repositories is None:
        return None
    return Narrowing(
        actions=None if actions is None else with_implied(parse_actions(actions)),
        repositories=None
        if repositories is None
        else tuple(RepositoryPattern(text) for text in repositories.split()),
    )


def _grant(columns: Sequence[Any]) -> Grant:
    grant_id, repositories, tags, role_name, actions, team_name = columns
    return Grant(
        id=grant_id,
        role=role_name,
        actions=parse_actions(actions),
        repositories=RepositoryPattern(repositories) if repositories else None,
        tags=TagPattern(tags) if tags else None,
        team=team_name,
    )


@lru_cache(maxsize=256)
def parse_actions(text: str) -> frozenset[Action]:
    """As stored; words of a newer release are left out."""
    return frozenset(Action(word) for word in text.split() if word in _WORDS)


_WORDS: Final = frozenset(action.value for action in Action)
