"""Alembic's entry: migrate over the connection, and inside the transaction, that the program hands in."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], version_table=context.config.attributes["version_table"]
)
with context.begin_transaction():
    context.run_migrations()
