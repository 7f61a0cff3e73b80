"""Who may do what: principals, their secrets, teams, roles and grants; and what people add to repositories.

::

    principal ─< access_token            (personal, robot, session, refresh, set-up: hashes only)
        │  └──< identity                 (the same person at an OIDC provider or in LDAP)
        ├──< team_member >── team
        │                     │
        └────< access_grant >─┘  access_grant >── role, project
    signing_key  sign_in_source  sign_in_attempt  workload_rule  rights_version
    repo ── repo_profile, repo_label, star          upstream_repo ─< upstream_tag  (another registry's events)
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

from entrepot.server.db.tables.base import Bytewise, Key, Moment, metadata, row_id

principal = Table(
    "principal",
    metadata,
    row_id(),
    Column("kind", Text, nullable=False),
    Column("name", Bytewise, nullable=False, unique=True),  # log-in name; a robot's is project+name
    Column("display_name", Text, nullable=False, server_default=""),
    Column("email", Text, nullable=False, server_default=""),
    Column("description", Text, nullable=False, server_default=""),
    Column(
        "source", Text, nullable=False, server_default="local"
    ),  # local, or the sign-in source it came from
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("system_role", Text),
    Column("may_create_projects", Boolean, nullable=False, server_default=false()),
    Column("password_hash", Text),
    Column("epoch", Integer, nullable=False, server_default="1"),  # counts up: older credentials stop working
    Column("version", Integer, nullable=False, server_default="1"),  # for If-Match
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE"), index=True),  # a robot's home
    Column("expires_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text),
    Column("last_used_at", Moment),
    CheckConstraint("kind in ('user', 'robot')", name="kind"),
    CheckConstraint("system_role in ('admin', 'auditor')", name="system_role"),
    sqlite_autoincrement=True,
)

identity = Table(
    "identity",
    metadata,
    Column("source", Text, primary_key=True),  # name of the sign-in source
    Column("subject", Text, primary_key=True),  # the source's own, stable id of the person
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("linked_at", Moment, nullable=False),
)

access_token = Table(
    "access_token",
    metadata,
    Column("id", Bytewise, primary_key=True),  # the public part of the secret
    Column("kind", Text, nullable=False),
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("hash", LargeBinary, nullable=False),  # SHA-256 of the secret
    Column("name", Text, nullable=False, server_default=""),
    Column("actions", Text),  # space-separated; NULL: all its owner may
    Column("repositories", Text),  # space-separated patterns; NULL: all
    Column("detail", Text),  # JSON: a session's CSRF value, a refresh token's service
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("last_used_at", Moment),
    Column("last_address", Text),
    CheckConstraint("kind in ('pat', 'rob', 'ses', 'ref', 'set')", name="kind"),
)
Index("ix_access_token_expires_at", access_token.c.expires_at)

team = Table(
    "team",
    metadata,
    row_id(),
    Column("name", Bytewise, nullable=False, unique=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("external_group", Text, index=True),  # `source:group` whose members it follows
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

team_member = Table(
    "team_member",
    metadata,
    Column("team_id", Key, ForeignKey("team.id", ondelete="CASCADE"), primary_key=True),
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("source", Text, primary_key=True, server_default="local"),  # replaced as a whole at each sign-in
    Column("added_at", Moment, nullable=False),
)

role = Table(
    "role",
    metadata,
    row_id(),
    Column("name", Bytewise, nullable=False, unique=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("actions", Text, nullable=False),  # space-separated
    Column("builtin", Boolean, nullable=False, server_default=false()),
    Column("version", Integer, nullable=False, server_default="1"),
    sqlite_autoincrement=True,
)

access_grant = Table(
    "access_grant",
    metadata,
    row_id(),
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), index=True),
    Column("team_id", Key, ForeignKey("team.id", ondelete="CASCADE"), index=True),
    Column("role_id", Key, ForeignKey("role.id", ondelete="RESTRICT"), nullable=False),
    Column("repositories", Text),  # a pattern; NULL: the whole project
    Column("tags", Text),  # a pattern; NULL: every tag
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    CheckConstraint("(principal_id IS NULL) <> (team_id IS NULL)", name="one_subject"),
    Index("ix_access_grant_project_id_principal_id", "project_id", "principal_id"),
    Index("ix_access_grant_project_id_team_id", "project_id", "team_id"),
    sqlite_autoincrement=True,
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("private", LargeBinary, nullable=False),  # sealed with the registry's secret key
    Column("certificate", Text, nullable=False),
    Column("active_at", Moment, nullable=False),
    Column("retired_at", Moment),
)

sign_in_source = Table(
    "sign_in_source",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("settings", Text, nullable=False),  # JSON
    Column("secret", LargeBinary),  # sealed: a client secret, a bind password
    Column("created_at", Moment, nullable=False),
    CheckConstraint("kind in ('htpasswd', 'ldap', 'oidc')", name="kind"),
)

# Failures count for a user from an address, for the address (no user) and for the user (no address).
sign_in_attempt = Table(
    "sign_in_attempt",
    metadata,
    Column("user", Bytewise, primary_key=True),
    Column("address", Bytewise, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", Moment),
    Column("succeeded_at", Moment),
    Index("ix_sign_in_attempt_failed_at", "failed_at"),
)

# PostgreSQL: another number after each transaction that changed what somebody may do. Triggers keep it.
rights_version = Table(
    "rights_version",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

workload_rule = Table(
    "workload_rule",
    metadata,
    row_id(),
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("issuer", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("claims", Text, nullable=False),  # JSON: claim → glob
    Column("created_at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

repo_profile = Table(
    "repo_profile",
    metadata,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("readme", Text, nullable=False, server_default=""),  # Markdown as it was written
    Column("version", Integer, nullable=False, server_default="1"),
    Column("updated_at", Moment, nullable=False),
    Column("updated_by", Text, nullable=False),
)

repo_label = Table(
    "repo_label",
    metadata,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True),
    Column("label", Bytewise, primary_key=True),
    Index("ix_repo_label_label", "label"),
)

star = Table(
    "star",
    metadata,
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), primary_key=True),
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("at", Moment, nullable=False),
)

upstream_repo = Table(
    "upstream_repo",
    metadata,
    row_id(),
    Column("registry", Text, nullable=False),  # the registry that tells us about itself
    Column("name", Bytewise, nullable=False),
    Column("pulls", BigInteger, nullable=False, server_default="0"),
    Column("pushed_at", Moment),
    Column("seen_at", Moment, nullable=False),
    UniqueConstraint("registry", "name"),
    sqlite_autoincrement=True,
)

upstream_tag = Table(
    "upstream_tag",
    metadata,
    Column("repo_id", Key, ForeignKey("upstream_repo.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("digest", Bytewise, nullable=False),
    Column("media_type", Text, nullable=False, server_default=""),
    Column("pushed_at", Moment, nullable=False),
    Column("pushed_by", Text, nullable=False, server_default=""),
)

upstream_event = Table(
    "upstream_event",
    metadata,
    Column("id", Text, primary_key=True),  # events are delivered at least once; this makes it once
    Column("at", Moment, nullable=False, index=True),
)
