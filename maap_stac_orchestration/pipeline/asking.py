"""What governance would decide, asked by somebody who only wants to know: nothing is written, nothing goes on record.

Here belongs finding the registry and the collections for a question. Not here: deciding for jobs (`decide`), and
putting a registry in force (`registry`).
"""

from __future__ import annotations

from maap_stac_orchestration.governance.registry import Registry, RegistryError
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.pipeline.registry import RegistryUnavailable, database_part, file_part, together
from maap_stac_orchestration.settings import Settings


def registry_to_ask(settings: Settings, conn: Connection) -> Registry:
    """The registry that would decide now: the file that the settings name, or the last good one from there, and the
    entries of the database.

    Args:
        settings: `registry` is a path or an `s3://` address.
        conn: the ledger's connection.

    Raises:
        RegistryUnavailable: there is none that could decide.
        psycopg.Error: the database does not tell.
    """
    file = file_part(settings, conn)
    try:
        return together(file, database_part(conn)[0])
    except RegistryError as error:
        raise RegistryUnavailable(
            f"The registry file and the entries of the database contradict one another. {error}"
        ) from error
