"""Governance: changes of the registry, entries kept in the database, tokens, tombstones of collections."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "v0002"
down_revision = "v0001"


def upgrade() -> None:
    """Runs the SQL file beside this one, on the driver's own connection, since SQLAlchemy would look for parameters."""
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(__file__).with_suffix(".sql").read_text())
