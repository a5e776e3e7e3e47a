"""Opening the ledger for commands that only look, with whatever goes wrong told in a sentence.

Here belongs what every such command does before and after its question. Not here: finding the database
(`environment`), and the questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from maap_stac_orchestration.cli.errors import Told

if TYPE_CHECKING:
    from maap_stac_orchestration.ledger.connection import Connection


@contextmanager
def ledger(command: str, *, autocommit: bool = True) -> Iterator[Connection]:
    """An open connection to the ledger, closed afterwards.

    Args:
        command: how it is called in pg_stat_activity.
        autocommit: whether each statement stands alone.

    Raises:
        Told: the database does not answer, has no ledger, or failed.
    """
    from maap_stac_orchestration.ledger.connection import connect

    with telling(), connect(application_name=f"maap-stac {command}", autocommit=autocommit) as connection:
        yield connection


@contextmanager
def telling() -> Iterator[None]:
    """Tells in a sentence what goes wrong with the database within.

    Raises:
        Told: the database does not answer, has no ledger, or failed.
    """
    import psycopg

    from maap_stac_orchestration.ledger.connection import DatabaseUnavailable

    try:
        yield
    except DatabaseUnavailable as error:
        raise Told(str(error)) from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName) as error:
        raise Told("The database has no ledger of this version. Run `maap-stac migrate`.") from error
    except psycopg.OperationalError as error:
        raise Told(f"The database failed: {' '.join(str(error).split())} Try again; nothing is lost.") from error
