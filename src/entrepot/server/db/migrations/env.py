"""Alembic's entry: migrate the connection that `server.db.migrate` brings, inside its transaction."""

from alembic import context

from entrepot.server.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
