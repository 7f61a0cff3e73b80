"""The whole schema: projects, repositories, content, tags and their history, uploads, journals, accounts.

What the tables are for is said in `db.tables`; here they stand as they were when this revision was made. The
file is long because one revision makes all of it.

PostgreSQL tells whether anything that decides about access has changed, so that it need not be read again.
Triggers count, so that no statement of any program can be forgotten. They run once a transaction, at its
end, and only for the columns that decide: pushes and log-ins do not wait for each other here. A new secret
changes nothing that was decided before. A new repository does count: if what is known of one that is not
there were not kept, refusing it would take longer, and tell which hidden ones there are.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import TEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Key = BigInteger().with_variant(Integer, "sqlite")
Bytewise = Text().with_variant(TEXT(collation="C"), "postgresql")


def _some(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of the rows that matter, so that the others don't pay for it."""
    condition: Any = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


Table(
    "audit",
    SCHEMA,
    Column("seq", Key, Identity(always=False), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("principal", Text, nullable=False),
    Column("principal_kind", Text, nullable=False),
    Column("token_id", Text),
    Column("address", Text),
    Column("request_id", Text),
    Column("action", Text, nullable=False),
    Column("repository", Bytewise),
    Column("tag", Bytewise),
    Column("old", Text),
    Column("new", Text),
    Column("detail", Text),
    Column("sealed_no", BigInteger),
    Column("chain", Text),
    Index("ix_audit_at", "at"),
    Index("ix_audit_repository", "repository"),
    _some("uq_audit_sealed_no", "sealed_no", where="sealed_no IS NOT NULL", unique=True),
    sqlite_autoincrement=True,
)
Table(
    "blob",
    SCHEMA,
    Column("digest", Bytewise, primary_key=True),
    Column("phys", Bytewise, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("state", Text, nullable=False, server_default="live"),
    Column("lease_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("checked_at", BigInteger),
    CheckConstraint("state in ('live', 'missing', 'quarantined')", name="state"),
    _some("ix_blob_out_of_service", "digest", where="state <> 'live'"),
)
Table(
    "job",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text),
    Column("payload", Text, nullable=False, server_default="{}"),
    Column("state", Text, nullable=False, server_default="queued"),
    Column("run_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("leased_until", BigInteger),
    Column("leased_by", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("progress", Text),
    Column("result", Text),
    Column("error", Text),
    CheckConstraint("state in ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
    Index("ix_job_kind_finished_at", "kind", "finished_at"),
    _some("ix_job_open", "run_at", where="state in ('queued', 'running')"),
    _some("uq_job_open", "kind", "key", where="state in ('queued', 'running')", unique=True),
    sqlite_autoincrement=True,
)
Table(
    "lease",
    SCHEMA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("fence", Integer, nullable=False),
)
Table(
    "node",
    SCHEMA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("detail", Text),
    Index("ix_node_seen_at", "seen_at"),
)
Table(
    "event",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("number", BigInteger),
    Column("kind", Text, nullable=False),
    Column("kinds", Text, nullable=False),
    Column("audience", Text, nullable=False, server_default="repository"),
    Column("project_id", Key),
    Column("repository", Bytewise),
    Column("payload", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    CheckConstraint("audience in ('repository', 'project', 'registry')", name="audience"),
    _some("ix_event_new", "id", where="number IS NULL"),
    _some("uq_event_number", "number", where="number IS NOT NULL", unique=True),
    sqlite_autoincrement=True,
)
Table(
    "event_head",
    SCHEMA,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("newest", BigInteger, nullable=False),
    Column("oldest", BigInteger, nullable=False),
)
Table(
    "project",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("name", Bytewise, nullable=False),
    Column("kind", Text, nullable=False, server_default="local"),
    Column("visibility", Text, nullable=False, server_default="private"),
    Column("usage_bytes", BigInteger, nullable=False, server_default="0"),
    Column("quota_bytes", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    Column("deleted_at", BigInteger),
    CheckConstraint("kind in ('local', 'proxy')", name="kind"),
    CheckConstraint("visibility in ('private', 'signed-in', 'public')", name="visibility"),
    _some("uq_project_name_live", "name", where="deleted_at IS NULL", unique=True),
    sqlite_autoincrement=True,
)
Table(
    "rights_version",
    SCHEMA,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)
Table(
    "role",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("name", Bytewise, nullable=False, unique=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("actions", Text, nullable=False),
    Column("builtin", Boolean, nullable=False, server_default=false()),
    Column("version", Integer, nullable=False, server_default="1"),
    sqlite_autoincrement=True,
)
Table(
    "setting",
    SCHEMA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
Table(
    "sign_in_attempt",
    SCHEMA,
    Column("user", Bytewise, primary_key=True),
    Column("address", Bytewise, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", BigInteger),
    Column("succeeded_at", BigInteger),
    Index("ix_sign_in_attempt_failed_at", "failed_at"),
)
Table(
    "sign_in_source",
    SCHEMA,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("settings", Text, nullable=False),
    Column("secret", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("kind in ('htpasswd', 'ldap', 'oidc')", name="kind"),
)
Table(
    "signing_key",
    SCHEMA,
    Column("kid", Text, primary_key=True),
    Column("private", LargeBinary, nullable=False),
    Column("certificate", Text, nullable=False),
    Column("active_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
)
Table(
    "team",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("name", Bytewise, nullable=False, unique=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("external_group", Text),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_team_external_group", "external_group"),
    sqlite_autoincrement=True,
)
Table(
    "trash",
    SCHEMA,
    Column("phys", Bytewise, primary_key=True),
    Column("digest", Bytewise),
    Column("size", BigInteger),
    Column("reason", Text, nullable=False),
    Column("trashed_at", BigInteger, nullable=False),
    Column("delete_after", BigInteger, nullable=False),
    Column("leased_until", BigInteger),
    Column("leased_by", Text),
    Index("ix_trash_delete_after", "delete_after"),
)
Table(
    "upload_begun",
    SCHEMA,
    Column("id", Bytewise, primary_key=True),
    sqlite_with_rowid=False,
)
Table(
    "upstream_event",
    SCHEMA,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Index("ix_upstream_event_at", "at"),
)
Table(
    "upstream_repo",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("registry", Text, nullable=False),
    Column("name", Bytewise, nullable=False),
    Column("pulls", BigInteger, nullable=False, server_default="0"),
    Column("pushed_at", BigInteger),
    Column("seen_at", BigInteger, nullable=False),
    UniqueConstraint("registry", "name"),
    sqlite_autoincrement=True,
)
Table(
    "principal",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Bytewise, nullable=False, unique=True),
    Column("display_name", Text, nullable=False, server_default=""),
    Column("email", Text, nullable=False, server_default=""),
    Column("description", Text, nullable=False, server_default=""),
    Column("source", Text, nullable=False, server_default="local"),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("system_role", Text),
    Column("may_create_projects", Boolean, nullable=False, server_default=false()),
    Column("password_hash", Text),
    Column("epoch", Integer, nullable=False, server_default="1"),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE")),
    Column("expires_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    Column("last_used_at", BigInteger),
    CheckConstraint("kind in ('user', 'robot')", name="kind"),
    CheckConstraint("system_role in ('admin', 'auditor')", name="system_role"),
    Index("ix_principal_project_id", "project_id"),
    sqlite_autoincrement=True,
)
Table(
    "repo",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("project_id", Key, ForeignKey("project.id", ondelete="RESTRICT"), nullable=False),
    Column("name", Bytewise, nullable=False),
    Column("proxied", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    Column("pushed_at", BigInteger),
    Column("deleted_at", BigInteger),
    Index("ix_repo_project_id", "project_id"),
    _some("uq_repo_name_live", "name", where="deleted_at IS NULL", unique=True),
    sqlite_autoincrement=True,
)
Table(
    "upstream",
    SCHEMA,
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("registry", Bytewise, nullable=False),
    Column("username", Text),
    Column("sealed", LargeBinary),
    Column("inside", Boolean, nullable=False, server_default=false()),
    Column("whole", Boolean, nullable=False, server_default=false()),
    Column("allow", Text, nullable=False, server_default=""),
    Column("deny", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False, server_default="{}"),
)
Table(
    "upstream_answer",
    SCHEMA,
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("repository", Bytewise, primary_key=True),
    Column("tag", Bytewise, primary_key=True),
    Column("digest", Bytewise),
    Column("media_type", Text, nullable=False, server_default=""),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Column("checked_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Table(
    "upstream_fetch",
    SCHEMA,
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Bytewise, primary_key=True),
    Column("phys", Bytewise, nullable=False, server_default=""),
    Column("size", BigInteger),
    Column("holder", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Table(
    "upstream_tag",
    SCHEMA,
    Column("repo_id", Key, ForeignKey("upstream_repo.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("digest", Bytewise, nullable=False),
    Column("media_type", Text, nullable=False, server_default=""),
    Column("pushed_at", BigInteger, nullable=False),
    Column("pushed_by", Text, nullable=False, server_default=""),
)
Table(
    "access_grant",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("project_id", Key, ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE")),
    Column("team_id", Key, ForeignKey("team.id", ondelete="CASCADE")),
    Column("role_id", Key, ForeignKey("role.id", ondelete="RESTRICT"), nullable=False),
    Column("repositories", Text),
    Column("tags", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    CheckConstraint("(principal_id IS NULL) <> (team_id IS NULL)", name="one_subject"),
    Index("ix_access_grant_principal_id", "principal_id"),
    Index("ix_access_grant_project_id_principal_id", "project_id", "principal_id"),
    Index("ix_access_grant_project_id_team_id", "project_id", "team_id"),
    Index("ix_access_grant_team_id", "team_id"),
    sqlite_autoincrement=True,
)
Table(
    "access_token",
    SCHEMA,
    Column("id", Bytewise, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("actions", Text),
    Column("repositories", Text),
    Column("detail", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("last_address", Text),
    CheckConstraint("kind in ('pat', 'rob', 'ses', 'ref', 'set')", name="kind"),
    Index("ix_access_token_expires_at", "expires_at"),
    Index("ix_access_token_principal_id", "principal_id"),
)
Table(
    "identity",
    SCHEMA,
    Column("source", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), nullable=False),
    Column("linked_at", BigInteger, nullable=False),
    Index("ix_identity_principal_id", "principal_id"),
)
Table(
    "manifest",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="RESTRICT"), nullable=False),
    Column("digest", Bytewise, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("artifact_type", Text),
    Column("subject", Bytewise),
    Column("annotations", Text),
    Column("config", Bytewise),
    Column("depth", Integer, nullable=False, server_default="0"),
    Column("total_size", BigInteger, nullable=False),
    Column("pushed_at", BigInteger, nullable=False),
    Column("pushed_by", Text, nullable=False),
    Column("pulled_at", BigInteger),
    Column("deleted_at", BigInteger),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("repo_id", "digest"),
    _some("ix_manifest_deleted_at", "deleted_at", where="deleted_at IS NOT NULL"),
    Index("ix_manifest_digest", "digest"),
    _some("ix_manifest_subject", "repo_id", "subject", "digest", where="subject IS NOT NULL"),
    sqlite_autoincrement=True,
)
Table(
    "repo_blob",
    SCHEMA,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="RESTRICT"), primary_key=True),
    Column("digest", Bytewise, ForeignKey("blob.digest", ondelete="RESTRICT"), primary_key=True),
    Column("linked_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    _some("ix_repo_blob_deleted_at", "deleted_at", where="deleted_at IS NOT NULL"),
    Index("ix_repo_blob_digest", "digest"),
    sqlite_with_rowid=False,
)
Table(
    "repo_label",
    SCHEMA,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True),
    Column("label", Bytewise, primary_key=True),
    Index("ix_repo_label_label", "label"),
)
Table(
    "repo_profile",
    SCHEMA,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("readme", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("updated_at", BigInteger, nullable=False),
    Column("updated_by", Text, nullable=False),
)
Table(
    "star",
    SCHEMA,
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), primary_key=True),
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Index("ix_star_repo_id", "repo_id"),
)
Table(
    "tag_event",
    SCHEMA,
    Column("seq", Key, Identity(always=False), primary_key=True),
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), nullable=False),
    Column("name", Bytewise, nullable=False),
    Column("old", Bytewise),
    Column("new", Bytewise),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("restored", Boolean, nullable=False, server_default=false()),
    Index("ix_tag_event_repo_id_name_seq", "repo_id", "name", "seq"),
    Index("ix_tag_event_repo_id_old_at", "repo_id", "old", "at"),
    sqlite_autoincrement=True,
)
Table(
    "tag_pull",
    SCHEMA,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("pulled_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Table(
    "tag_pull_day",
    SCHEMA,
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("day", BigInteger, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Index("ix_tag_pull_day_day", "day"),
    sqlite_with_rowid=False,
)
Table(
    "derived",
    SCHEMA,
    Column("kind", Text, primary_key=True),
    Column("digest", Bytewise, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("object", Bytewise),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("reason", Text),
    Column("detail", Text),
    Column("made_at", BigInteger, nullable=False),
    CheckConstraint("state in ('ready', 'failed', 'skipped')", name="state"),
    Index("ix_derived_made_at", "made_at"),
    sqlite_with_rowid=False,
)
Table(
    "pull_look",
    SCHEMA,
    Column("repo_id", Key, primary_key=True, autoincrement=False),
    Column("digest", Bytewise, primary_key=True),
    Column("who", Bytewise, primary_key=True),
    Column("name", Bytewise, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Table(
    "team_member",
    SCHEMA,
    Column("team_id", Key, ForeignKey("team.id", ondelete="CASCADE"), primary_key=True),
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), primary_key=True),
    Column("source", Text, primary_key=True, server_default="local"),
    Column("added_at", BigInteger, nullable=False),
    Index("ix_team_member_principal_id", "principal_id"),
)
Table(
    "upload",
    SCHEMA,
    Column("id", Bytewise, primary_key=True),
    Column("repo_id", Key, ForeignKey("repo.id", ondelete="CASCADE"), nullable=False),
    Column("phys", Bytewise, nullable=False, unique=True),
    Column("offset", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("algorithm", Text, nullable=False),
    Column("digest_so_far", Bytewise),
    Column("boot_id", Text, nullable=False),
    Column("claim", Text),
    Column("claimed_until", BigInteger),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("principal", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_upload_expires_at", "expires_at"),
    Index("ix_upload_principal", "principal"),
    Index("ix_upload_repo_id", "repo_id"),
)
Table(
    "workload_rule",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("principal_id", Key, ForeignKey("principal.id", ondelete="CASCADE"), nullable=False),
    Column("issuer", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("claims", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_workload_rule_principal_id", "principal_id"),
    sqlite_autoincrement=True,
)
Table(
    "manifest_blob",
    SCHEMA,
    Column("manifest_id", Key, ForeignKey("manifest.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Bytewise, primary_key=True),
    Column("repo_id", Key, nullable=False),
    ForeignKeyConstraint(
        ["repo_id", "digest"], ["repo_blob.repo_id", "repo_blob.digest"], ondelete="RESTRICT"
    ),
    Index("ix_manifest_blob_repo_id_digest", "repo_id", "digest"),
    sqlite_with_rowid=False,
)
Table(
    "manifest_child",
    SCHEMA,
    Column("manifest_id", Key, ForeignKey("manifest.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Bytewise, primary_key=True),
    Column("repo_id", Key, nullable=False),
    ForeignKeyConstraint(["repo_id", "digest"], ["manifest.repo_id", "manifest.digest"], ondelete="RESTRICT"),
    Index("ix_manifest_child_repo_id_digest", "repo_id", "digest"),
    sqlite_with_rowid=False,
)
Table(
    "manifest_missing",
    SCHEMA,
    Column("manifest_id", Key, ForeignKey("manifest.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Bytewise, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("repo_id", Key, nullable=False),
    CheckConstraint("kind in ('blob', 'manifest')", name="kind"),
    Index("ix_manifest_missing_repo_id_digest", "repo_id", "digest"),
    sqlite_with_rowid=False,
)
Table(
    "tag",
    SCHEMA,
    Column("repo_id", Key, primary_key=True),
    Column("name", Bytewise, primary_key=True),
    Column("digest", Bytewise, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("updated_by", Text, nullable=False),
    ForeignKeyConstraint(["repo_id", "digest"], ["manifest.repo_id", "manifest.digest"], ondelete="RESTRICT"),
    Index("ix_tag_name", "name"),
    Index("ix_tag_repo_id_digest", "repo_id", "digest"),
    sqlite_with_rowid=False,
)

Table(
    "policy",
    SCHEMA,
    Column("scope", Bytewise, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    sqlite_with_rowid=False,
)
Table(
    "policy_version",
    SCHEMA,
    Column("scope", Bytewise, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
)
Table(
    "policy_preview",
    SCHEMA,
    Column("scope", Bytewise, primary_key=True),
    Column("text_hash", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("shown", Text, nullable=False),
)
Table(
    "retention_run",
    SCHEMA,
    Column("id", Key, Identity(always=False), primary_key=True),
    Column("state", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("by", Text, nullable=False),
    Column("kept", Key, nullable=False),
    Column("removed", Key, nullable=False, server_default="0"),
    Column("reason", Text),
    Column("rows", Text, nullable=False),
    CheckConstraint("state in ('running', 'done', 'waiting', 'failed', 'undone')", name="state"),
    Index("ix_retention_run_at", "at"),
    sqlite_autoincrement=True,
)

_FUNCTION = """
CREATE FUNCTION rights_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('entrepot.rights_changed', true) IS DISTINCT FROM txid_current()::text THEN
    INSERT INTO rights_version (one, version)
    VALUES (1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    ON CONFLICT (one) DO UPDATE SET version = greatest(rights_version.version + 1, excluded.version);
    PERFORM set_config('entrepot.rights_changed', txid_current()::text, true);
  END IF;
  RETURN NULL;
END
$$
"""
_EVENTS = {
    "principal": "UPDATE OF enabled, expires_at, epoch, system_role, may_create_projects, source OR DELETE",
    "access_token": "UPDATE OF expires_at, actions, repositories, hash OR DELETE",
    "project": "INSERT OR UPDATE OF name, visibility, deleted_at OR DELETE",
    "repo": "INSERT OR UPDATE OF name, project_id, deleted_at OR DELETE",
    "role": "INSERT OR UPDATE OR DELETE",
    "team": "UPDATE OF name OR DELETE",
    "team_member": "INSERT OR UPDATE OR DELETE",
    "access_grant": "INSERT OR UPDATE OR DELETE",
    "setting": "INSERT OR UPDATE OR DELETE",
}


def upgrade() -> None:
    bind = op.get_bind()
    SCHEMA.create_all(bind, checkfirst=False)
    if bind.dialect.name == "postgresql":
        op.execute(_FUNCTION)
        for table, events in _EVENTS.items():
            op.execute(
                f"CREATE CONSTRAINT TRIGGER rights_changed AFTER {events} ON {table} "
                "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rights_changed()"
            )


def downgrade() -> None:
    bind = op.get_bind()
    SCHEMA.drop_all(bind, checkfirst=False)  # triggers go with their tables
    if bind.dialect.name == "postgresql":
        op.execute("DROP FUNCTION rights_changed()")
