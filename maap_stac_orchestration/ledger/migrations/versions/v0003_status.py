"""Status: counts of submissions, ends of jobs that somebody is to be told of, webhooks and what was sent to them."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "v0003"
down_revision = "v0002"


def upgrade() -> None:
    """Runs the SQL file beside this one, on the driver's own connection, since SQLAlchemy would look for parameters."""
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(__file__).with_suffix(".sql").read_text())
