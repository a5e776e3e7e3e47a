"""Old outputs: which days of which bucket were listed whole, and which files of inventories were read."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "v0004"
down_revision = "v0003"


def upgrade() -> None:
    """Runs the SQL file beside this one, on the driver's own connection, since SQLAlchemy would look for parameters."""
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(__file__).with_suffix(".sql").read_text())
