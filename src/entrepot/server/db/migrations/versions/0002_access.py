"""Accounts: principals, tokens, teams, roles, grants, sign-in sources; profiles, labels, stars; upstreams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Bytewise = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "role",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql"), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("actions", sa.Text(), nullable=False),
        sa.Column("builtin", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role")),
        sa.UniqueConstraint("name", name=op.f("uq_role_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sign_in_source",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind in ('htpasswd', 'ldap', 'oidc')", name=op.f("ck_sign_in_source_kind")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sign_in_source")),
    )
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("active_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_key")),
    )
    op.create_table(
        "team",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql"), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("external_group", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team")),
        sa.UniqueConstraint("name", name=op.f("uq_team_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_team_external_group"), "team", ["external_group"], unique=False)
    op.create_table(
        "upstream_event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_event")),
    )
    op.create_index(op.f("ix_upstream_event_at"), "upstream_event", ["at"], unique=False)
    op.create_table(
        "upstream_repo",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("registry", sa.Text(), nullable=False),
        sa.Column("name", sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql"), nullable=False),
        sa.Column("pulls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pushed_at", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_repo")),
        sa.UniqueConstraint("registry", "name", name=op.f("uq_upstream_repo_registry_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "principal",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql"), nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("email", sa.Text(), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("source", sa.Text(), server_default="local", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("system_role", sa.Text(), nullable=True),
        sa.Column("may_create_projects", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="1", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("project_id", Key, nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind in ('user', 'robot')", name=op.f("ck_principal_kind")),
        sa.CheckConstraint("system_role in ('admin', 'auditor')", name=op.f("ck_principal_system_role")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_principal_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principal")),
        sa.UniqueConstraint("name", name=op.f("uq_principal_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_principal_project_id"), "principal", ["project_id"], unique=False)
    op.create_table(
        "upstream_tag",
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("name", sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql"), nullable=False),
        sa.Column("digest", sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql"), nullable=False),
        sa.Column("media_type", sa.Text(), server_default="", nullable=False),
        sa.Column("pushed_at", sa.BigInteger(), nullable=False),
        sa.Column("pushed_by", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["repo_id"],
            ["upstream_repo.id"],
            name=op.f("fk_upstream_tag_repo_id_upstream_repo"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repo_id", "name", name=op.f("pk_upstream_tag")),
    )
    op.create_table(
        "access_grant",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("project_id", Key, nullable=False),
        sa.Column("principal_id", Key, nullable=True),
        sa.Column("team_id", Key, nullable=True),
        sa.Column("role_id", Key, nullable=False),
        sa.Column("repositories", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(principal_id IS NULL) <> (team_id IS NULL)", name=op.f("ck_access_grant_one_subject")
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principal.id"],
            name=op.f("fk_access_grant_principal_id_principal"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_access_grant_project_id_project"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["role_id"], ["role.id"], name=op.f("fk_access_grant_role_id_role"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["team.id"], name=op.f("fk_access_grant_team_id_team"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_grant")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_access_grant_principal_id"), "access_grant", ["principal_id"], unique=False)
    op.create_index(
        "ix_access_grant_project_id_principal_id",
        "access_grant",
        ["project_id", "principal_id"],
        unique=False,
    )
    op.create_index(
        "ix_access_grant_project_id_team_id", "access_grant", ["project_id", "team_id"], unique=False
    )
    op.create_index(op.f("ix_access_grant_team_id"), "access_grant", ["team_id"], unique=False)
    op.create_table(
        "access_token",
        sa.Column("id", sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("principal_id", Key, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("actions", sa.Text(), nullable=True),
        sa.Column("repositories", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("last_address", sa.Text(), nullable=True),
        sa.CheckConstraint("kind in ('pat', 'rob', 'ses', 'ref', 'set')", name=op.f("ck_access_token_kind")),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principal.id"],
            name=op.f("fk_access_token_principal_id_principal"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_token")),
    )
    op.create_index("ix_access_token_expires_at", "access_token", ["expires_at"], unique=False)
    op.create_index(op.f("ix_access_token_principal_id"), "access_token", ["principal_id"], unique=False)
    op.create_table(
        "identity",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("principal_id", Key, nullable=False),
        sa.Column("linked_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principal.id"],
            name=op.f("fk_identity_principal_id_principal"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source", "subject", name=op.f("pk_identity")),
    )
    op.create_index(op.f("ix_identity_principal_id"), "identity", ["principal_id"], unique=False)
    op.create_table(
        "repo_label",
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("label", sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repo.id"], name=op.f("fk_repo_label_repo_id_repo"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repo_id", "label", name=op.f("pk_repo_label")),
    )
    op.create_index("ix_repo_label_label", "repo_label", ["label"], unique=False)
    op.create_table(
        "repo_profile",
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("readme", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repo.id"], name=op.f("fk_repo_profile_repo_id_repo"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repo_id", name=op.f("pk_repo_profile")),
    )
    op.create_table(
        "star",
        sa.Column("principal_id", Key, nullable=False),
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principal.id"],
            name=op.f("fk_star_principal_id_principal"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repo.id"], name=op.f("fk_star_repo_id_repo"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("principal_id", "repo_id", name=op.f("pk_star")),
    )
    op.create_index(op.f("ix_star_repo_id"), "star", ["repo_id"], unique=False)
    op.create_table(
        "team_member",
        sa.Column("team_id", Key, nullable=False),
        sa.Column("principal_id", Key, nullable=False),
        sa.Column("source", sa.Text(), server_default="local", nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principal.id"],
            name=op.f("fk_team_member_principal_id_principal"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["team_id"], ["team.id"], name=op.f("fk_team_member_team_id_team"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("team_id", "principal_id", "source", name=op.f("pk_team_member")),
    )
    op.create_index(op.f("ix_team_member_principal_id"), "team_member", ["principal_id"], unique=False)
    op.create_table(
        "workload_rule",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("principal_id", Key, nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("claims", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principal.id"],
            name=op.f("fk_workload_rule_principal_id_principal"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workload_rule")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_workload_rule_principal_id"), "workload_rule", ["principal_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_workload_rule_principal_id"), table_name="workload_rule")
    op.drop_table("workload_rule")
    op.drop_index(op.f("ix_team_member_principal_id"), table_name="team_member")
    op.drop_table("team_member")
    op.drop_index(op.f("ix_star_repo_id"), table_name="star")
    op.drop_table("star")
    op.drop_table("repo_profile")
    op.drop_index("ix_repo_label_label", table_name="repo_label")
    op.drop_table("repo_label")
    op.drop_index(op.f("ix_identity_principal_id"), table_name="identity")
    op.drop_table("identity")
    op.drop_index(op.f("ix_access_token_principal_id"), table_name="access_token")
    op.drop_index("ix_access_token_expires_at", table_name="access_token")
    op.drop_table("access_token")
    op.drop_index(op.f("ix_access_grant_team_id"), table_name="access_grant")
    op.drop_index("ix_access_grant_project_id_team_id", table_name="access_grant")
    op.drop_index("ix_access_grant_project_id_principal_id", table_name="access_grant")
    op.drop_index(op.f("ix_access_grant_principal_id"), table_name="access_grant")
    op.drop_table("access_grant")
    op.drop_table("upstream_tag")
    op.drop_index(op.f("ix_principal_project_id"), table_name="principal")
    op.drop_table("principal")
    op.drop_table("upstream_repo")
    op.drop_index(op.f("ix_upstream_event_at"), table_name="upstream_event")
    op.drop_table("upstream_event")
    op.drop_index(op.f("ix_team_external_group"), table_name="team")
    op.drop_table("team")
    op.drop_table("signing_key")
    op.drop_table("sign_in_source")
    op.drop_table("role")
