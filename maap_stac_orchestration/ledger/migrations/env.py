"""What Alembic runs: all migrations in the one transaction of the connection that `migrate` hands in."""

from __future__ import annotations

from alembic import context

from maap_stac_orchestration.ledger.migrate import SCHEMA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
