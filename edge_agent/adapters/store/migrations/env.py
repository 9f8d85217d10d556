"""Alembic's entry: migrate over the connection, and inside the transaction, that the program hands in."""

from alembic import context

from edge_agent.adapters.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
