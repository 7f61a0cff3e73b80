"""PostgreSQL tells whether anything that decides about access has changed, so that it need not be read again.

Triggers, not the program, count: programs of the revision before change rights too. They run once a
transaction, at its end, and only for the columns that decide: pushes and log-ins do not wait for each other
here. A new secret changes nothing that was decided before. A new repository does count: if what is known of
one that is not there were not kept, refusing it would take longer, and tell which hidden ones there are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
serves_previous = True

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
    op.create_table(
        "rights_version",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_rights_version")),
    )
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(_FUNCTION)
    for table, events in _EVENTS.items():
        op.execute(
            f"CREATE CONSTRAINT TRIGGER rights_changed AFTER {events} ON {table} "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rights_changed()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in _EVENTS:
            op.execute(f"DROP TRIGGER rights_changed ON {table}")
        op.execute("DROP FUNCTION rights_changed()")
    op.drop_table("rights_version")
