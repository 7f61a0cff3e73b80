"""From rows to what the API shows."""

from __future__ import annotations

import json
from typing import Any, Literal, cast

from entrepot.server.api.schemas import (
    AccountView,
    AuditRow,
    GrantView,
    ProjectView,
    RepositoryView,
    RoleView,
    TagView,
    TeamView,
    TokenView,
    VisibilityName,
    at,
    when,
)
from entrepot.server.control.grants import GrantRow
from entrepot.server.control.manifests import platforms_of
from entrepot.server.control.projects import Project
from entrepot.server.control.repositories import ListedRepository
from entrepot.server.control.roles import AccessRole
from entrepot.server.control.tags import TagRow
from entrepot.server.control.teams import Team
from entrepot.server.control.tokens import AccessToken
from entrepot.server.control.users import Account

__all__: list[str] = []


def project_view(found: Project) -> ProjectView:
    return ProjectView(
        name=found.name,
        visibility=cast("VisibilityName", found.visibility),
        kind=found.kind,
        usage_bytes=found.usage_bytes,
        quota_bytes=found.quota_bytes,
        repositories=found.repositories,
        created_at=at(found.created_at),
        created_by=found.created_by,
    )


def grant_view(found: GrantRow) -> GrantView:
    return GrantView(
        id=found.id,
        project=found.project,
        principal=found.principal,
        principal_kind=found.principal_kind,
        team=found.team,
        role=found.role,
        repositories=found.repositories,
        tags=found.tags,
        created_at=at(found.created_at),
        created_by=found.created_by,
    )


def account_view(found: Account) -> AccountView:
    return AccountView(
        name=found.name,
        kind=cast("Literal['user', 'robot']", found.kind),
        display_name=found.display_name,
        email=found.email,
        description=found.description,
        source=found.source,
        enabled=bool(found.enabled),
        system_role=found.system_role,
        may_create_projects=bool(found.may_create_projects),
        has_password=bool(found.has_password),
        expires_at=when(found.expires_at),
        created_at=at(found.created_at),
        created_by=found.created_by,
        last_used_at=when(found.last_used_at),
    )


def token_view(found: AccessToken) -> TokenView:
    return TokenView(
        id=found.id,
        name=found.name,
        owner=found.owner,
        actions=None if found.actions is None else list(found.actions),
        repositories=None if found.repositories is None else list(found.repositories),
        created_at=at(found.created_at),
        expires_at=when(found.expires_at),
        last_used_at=when(found.last_used_at),
        last_address=found.last_address,
    )


def team_view(found: Team) -> TeamView:
    return TeamView(
        name=found.name,
        description=found.description,
        external_group=found.external_group,
        created_at=at(found.created_at),
    )


def role_view(found: AccessRole) -> RoleView:
    return RoleView(
        name=found.name, description=found.description, actions=list(found.actions), builtin=found.builtin
    )


def repository_view(found: ListedRepository) -> RepositoryView:
    return RepositoryView(**repository_fields(found))


def repository_fields(found: ListedRepository) -> dict[str, Any]:
    return {
        "name": found.name,
        "project": found.project,
        "description": found.description,
        "labels": found.labels,
        "tags": found.tags,
        "stars": found.stars,
        "pulls": int(found.pulls),
        "created_at": at(found.created_at),
        "pushed_at": when(found.pushed_at),
    }


def tag_fields(found: TagRow) -> dict[str, Any]:
    return {
        "name": found.name,
        "digest": found.digest,
        "media_type": found.media_type,
        "artifact_type": found.artifact_type,
        "size_bytes": found.total_size,
        "platforms": [platform for _digest, platform, _size, _kind in platforms_of(found.body) if platform],
        "created_at": at(found.created_at),
        "updated_at": at(found.updated_at),
        "updated_by": found.updated_by,
        "pulls": found.pulls,
        "pulled_at": when(found.pulled_at),
    }


def tag_view(found: TagRow) -> TagView:
    return TagView(**tag_fields(found))


def audit_view(row: Any) -> AuditRow:
    return AuditRow(
        number=row.seq,
        at=at(row.at),
        principal=row.principal,
        principal_kind=row.principal_kind,
        token_id=row.token_id,
        address=row.address,
        request_id=row.request_id,
        action=row.action,
        repository=row.repository,
        tag=row.tag,
        old=row.old,
        new=row.new,
        detail=_detail(row.detail),
    )


def _detail(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    value = json.loads(text)
    return value if isinstance(value, dict) else {"value": value}
