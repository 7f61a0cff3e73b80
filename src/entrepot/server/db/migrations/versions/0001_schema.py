"""The whole schema: projects, repositories, content, tags with their history, uploads, journals, work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Bytewise = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", Key, sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("principal_kind", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("repository", Bytewise, nullable=True),
        sa.Column("tag", Bytewise, nullable=True),
        sa.Column("old", sa.Text(), nullable=True),
        sa.Column("new", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("sealed_no", sa.BigInteger(), nullable=True),
        sa.Column("chain", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
        sa.UniqueConstraint("sealed_no", name=op.f("uq_audit_sealed_no")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_repository"), "audit", ["repository"], unique=False)
    op.create_index(
        "ix_audit_unsealed",
        "audit",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("sealed_no IS NULL"),
        postgresql_where=sa.text("sealed_no IS NULL"),
    )
    op.create_table(
        "blob",
        sa.Column("digest", Bytewise, nullable=False),
        sa.Column("phys", Bytewise, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="live", nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state in ('live', 'missing', 'quarantined')", name=op.f("ck_blob_state")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blob")),
        sa.UniqueConstraint("phys", name=op.f("uq_blob_phys")),
    )
    op.create_table(
        "job",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), server_default="{}", nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("run_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.BigInteger(), nullable=True),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state in ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_job_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_kind_finished_at", "job", ["kind", "finished_at"], unique=False)
    op.create_index(
        "ix_job_open",
        "job",
        ["run_at"],
        unique=False,
        sqlite_where=sa.text("state in ('queued', 'running')"),
        postgresql_where=sa.text("state in ('queued', 'running')"),
    )
    op.create_index(
        "uq_job_open",
        "job",
        ["kind", "key"],
        unique=True,
        sqlite_where=sa.text("state in ('queued', 'running')"),
        postgresql_where=sa.text("state in ('queued', 'running')"),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "node",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node")),
    )
    op.create_index(op.f("ix_node_seen_at"), "node", ["seen_at"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("repository", Bytewise, nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="new", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("leased_until", sa.BigInteger(), nullable=True),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state in ('new', 'done', 'dead')", name=op.f("ck_outbox_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_outbox_done_at"), "outbox", ["done_at"], unique=False)
    op.create_index(
        "ix_outbox_new",
        "outbox",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'new'"),
        postgresql_where=sa.text("state = 'new'"),
    )
    op.create_table(
        "project",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("kind", sa.Text(), server_default="local", nullable=False),
        sa.Column("visibility", sa.Text(), server_default="private", nullable=False),
        sa.Column("usage_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("quota_bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind in ('local', 'proxy')", name=op.f("ck_project_kind")),
        sa.CheckConstraint(
            "visibility in ('private', 'signed-in', 'public')", name=op.f("ck_project_visibility")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_project_name_live",
        "project",
        ["name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "setting",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting")),
    )
    op.create_table(
        "trash",
        sa.Column("phys", Bytewise, nullable=False),
        sa.Column("digest", Bytewise, nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("trashed_at", sa.BigInteger(), nullable=False),
        sa.Column("delete_after", sa.BigInteger(), nullable=False),
        sa.Column("leased_until", sa.BigInteger(), nullable=True),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("phys", name=op.f("pk_trash")),
    )
    op.create_index(op.f("ix_trash_delete_after"), "trash", ["delete_after"], unique=False)
    op.create_table(
        "repo",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("project_id", Key, nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("pushed_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_repo_project_id_project"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repo")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_repo_project_id"), "repo", ["project_id"], unique=False)
    op.create_index(
        "uq_repo_name_live",
        "repo",
        ["name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "manifest",
        sa.Column("id", Key, sa.Identity(always=False), nullable=False),
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("digest", Bytewise, nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("artifact_type", sa.Text(), nullable=True),
        sa.Column("subject", Bytewise, nullable=True),
        sa.Column("annotations", sa.Text(), nullable=True),
        sa.Column("config", Bytewise, nullable=True),
        sa.Column("depth", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total_size", sa.BigInteger(), nullable=False),
        sa.Column("pushed_at", sa.BigInteger(), nullable=False),
        sa.Column("pushed_by", sa.Text(), nullable=False),
        sa.Column("pulled_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repo.id"], name=op.f("fk_manifest_repo_id_repo"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_manifest")),
        sa.UniqueConstraint("repo_id", "digest", name=op.f("uq_manifest_repo_id_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_manifest_deleted_at",
        "manifest",
        ["deleted_at"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index("ix_manifest_digest", "manifest", ["digest"], unique=False)
    op.create_index(
        "ix_manifest_subject",
        "manifest",
        ["repo_id", "subject", "digest"],
        unique=False,
        sqlite_where=sa.text("subject IS NOT NULL"),
        postgresql_where=sa.text("subject IS NOT NULL"),
    )
    op.create_table(
        "repo_blob",
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("digest", Bytewise, nullable=False),
        sa.Column("linked_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_repo_blob_digest_blob"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repo.id"], name=op.f("fk_repo_blob_repo_id_repo"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("repo_id", "digest", name=op.f("pk_repo_blob")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_repo_blob_deleted_at",
        "repo_blob",
        ["deleted_at"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index(op.f("ix_repo_blob_digest"), "repo_blob", ["digest"], unique=False)
    op.create_table(
        "tag_event",
        sa.Column("seq", Key, sa.Identity(always=False), nullable=False),
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("old", Bytewise, nullable=True),
        sa.Column("new", Bytewise, nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repo.id"], name=op.f("fk_tag_event_repo_id_repo"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_tag_event")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tag_event_repo_id_name_seq", "tag_event", ["repo_id", "name", "seq"], unique=False)
    op.create_index("ix_tag_event_repo_id_old_at", "tag_event", ["repo_id", "old", "at"], unique=False)
    op.create_table(
        "tag_pull",
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("pulled_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repo.id"], name=op.f("fk_tag_pull_repo_id_repo"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repo_id", "name", name=op.f("pk_tag_pull")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "upload",
        sa.Column("id", Bytewise, nullable=False),
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("phys", Bytewise, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("digest_so_far", Bytewise, nullable=True),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repo.id"], name=op.f("fk_upload_repo_id_repo"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
        sa.UniqueConstraint("phys", name=op.f("uq_upload_phys")),
    )
    op.create_index(op.f("ix_upload_expires_at"), "upload", ["expires_at"], unique=False)
    op.create_index(op.f("ix_upload_principal"), "upload", ["principal"], unique=False)
    op.create_index(op.f("ix_upload_repo_id"), "upload", ["repo_id"], unique=False)
    op.create_table(
        "manifest_blob",
        sa.Column("manifest_id", Key, nullable=False),
        sa.Column("digest", Bytewise, nullable=False),
        sa.Column("repo_id", Key, nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest_id"],
            ["manifest.id"],
            name=op.f("fk_manifest_blob_manifest_id_manifest"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repo_id", "digest"],
            ["repo_blob.repo_id", "repo_blob.digest"],
            name=op.f("fk_manifest_blob_repo_id_digest_repo_blob"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("manifest_id", "digest", name=op.f("pk_manifest_blob")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_manifest_blob_repo_id_digest", "manifest_blob", ["repo_id", "digest"], unique=False)
    op.create_table(
        "manifest_child",
        sa.Column("manifest_id", Key, nullable=False),
        sa.Column("digest", Bytewise, nullable=False),
        sa.Column("repo_id", Key, nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest_id"],
            ["manifest.id"],
            name=op.f("fk_manifest_child_manifest_id_manifest"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repo_id", "digest"],
            ["manifest.repo_id", "manifest.digest"],
            name=op.f("fk_manifest_child_repo_id_digest_manifest"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("manifest_id", "digest", name=op.f("pk_manifest_child")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_manifest_child_repo_id_digest", "manifest_child", ["repo_id", "digest"], unique=False)
    op.create_table(
        "manifest_missing",
        sa.Column("manifest_id", Key, nullable=False),
        sa.Column("digest", Bytewise, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("repo_id", Key, nullable=False),
        sa.CheckConstraint("kind in ('blob', 'manifest')", name=op.f("ck_manifest_missing_kind")),
        sa.ForeignKeyConstraint(
            ["manifest_id"],
            ["manifest.id"],
            name=op.f("fk_manifest_missing_manifest_id_manifest"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("manifest_id", "digest", "kind", name=op.f("pk_manifest_missing")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_manifest_missing_repo_id_digest", "manifest_missing", ["repo_id", "digest"], unique=False
    )
    op.create_table(
        "tag",
        sa.Column("repo_id", Key, nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("digest", Bytewise, nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repo_id", "digest"],
            ["manifest.repo_id", "manifest.digest"],
            name=op.f("fk_tag_repo_id_digest_manifest"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("repo_id", "name", name=op.f("pk_tag")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tag_repo_id_digest", "tag", ["repo_id", "digest"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_tag_repo_id_digest", table_name="tag")
    op.drop_table("tag")
    op.drop_index("ix_manifest_missing_repo_id_digest", table_name="manifest_missing")
    op.drop_table("manifest_missing")
    op.drop_index("ix_manifest_child_repo_id_digest", table_name="manifest_child")
    op.drop_table("manifest_child")
    op.drop_index("ix_manifest_blob_repo_id_digest", table_name="manifest_blob")
    op.drop_table("manifest_blob")
    op.drop_index(op.f("ix_upload_repo_id"), table_name="upload")
    op.drop_index(op.f("ix_upload_principal"), table_name="upload")
    op.drop_index(op.f("ix_upload_expires_at"), table_name="upload")
    op.drop_table("upload")
    op.drop_table("tag_pull")
    op.drop_index("ix_tag_event_repo_id_old_at", table_name="tag_event")
    op.drop_index("ix_tag_event_repo_id_name_seq", table_name="tag_event")
    op.drop_table("tag_event")
    op.drop_index(op.f("ix_repo_blob_digest"), table_name="repo_blob")
    op.drop_index(
        "ix_repo_blob_deleted_at",
        table_name="repo_blob",
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.drop_table("repo_blob")
    op.drop_index(
        "ix_manifest_subject",
        table_name="manifest",
        sqlite_where=sa.text("subject IS NOT NULL"),
        postgresql_where=sa.text("subject IS NOT NULL"),
    )
    op.drop_index("ix_manifest_digest", table_name="manifest")
    op.drop_index(
        "ix_manifest_deleted_at",
        table_name="manifest",
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.drop_table("manifest")
    op.drop_index(
        "uq_repo_name_live",
        table_name="repo",
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index(op.f("ix_repo_project_id"), table_name="repo")
    op.drop_table("repo")
    op.drop_index(op.f("ix_trash_delete_after"), table_name="trash")
    op.drop_table("trash")
    op.drop_table("setting")
    op.drop_index(
        "uq_project_name_live",
        table_name="project",
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_table("project")
    op.drop_index(
        "ix_outbox_new",
        table_name="outbox",
        sqlite_where=sa.text("state = 'new'"),
        postgresql_where=sa.text("state = 'new'"),
    )
    op.drop_index(op.f("ix_outbox_done_at"), table_name="outbox")
    op.drop_table("outbox")
    op.drop_index(op.f("ix_node_seen_at"), table_name="node")
    op.drop_table("node")
    op.drop_table("lease")
    op.drop_index(
        "uq_job_open",
        table_name="job",
        sqlite_where=sa.text("state in ('queued', 'running')"),
        postgresql_where=sa.text("state in ('queued', 'running')"),
    )
    op.drop_index(
        "ix_job_open",
        table_name="job",
        sqlite_where=sa.text("state in ('queued', 'running')"),
        postgresql_where=sa.text("state in ('queued', 'running')"),
    )
    op.drop_index("ix_job_kind_finished_at", table_name="job")
    op.drop_table("job")
    op.drop_table("blob")
    op.drop_index(
        "ix_audit_unsealed",
        table_name="audit",
        sqlite_where=sa.text("sealed_no IS NULL"),
        postgresql_where=sa.text("sealed_no IS NULL"),
    )
    op.drop_index(op.f("ix_audit_repository"), table_name="audit")
    op.drop_index(op.f("ix_audit_at"), table_name="audit")
    op.drop_table("audit")
