"""Which registries were put in force, and which were refused.

Here belongs the history of loads. Not here: what a registry says (`governance.registry`).
"""

from __future__ import annotations

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import RegistryLoad


def record_load(conn: Connection, *, version: str, source: str, content: str, error: str | None = None) -> None:
    """Writes down that a registry was loaded (`error` None) or refused; the same as the last one is not repeated."""
    raise NotImplementedError


def last_good(conn: Connection, source: str) -> RegistryLoad | None:
    """The registry that was loaded from this source last without an error."""
    raise NotImplementedError
