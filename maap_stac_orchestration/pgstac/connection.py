"""The connection that everything here works on, and whether the pgstac at its other end is the one we write to.

Here belongs what every module of this package needs to know about the database. Not here: opening, committing and
closing connections, which is for who calls.
"""

from __future__ import annotations

from typing import Any

import psycopg
from pypgstac import version as pypgstac_version

Connection = psycopg.Connection[Any]

#: The version of pypgstac, which brings pgstac's migrations and the rules of its rows.
_OURS: str = pypgstac_version.__version__


class PgstacMissing(Exception):
    """The database has no pgstac of the version that this program loads with; the message says what to do."""


def check_version(found: str | None) -> None:
    """Whether rows as pypgstac makes them fit the pgstac of this version, which `pgstac.get_version()` gives.

    Its layout of rows changes with the second number.

    Raises:
        PgstacMissing: they do not.
    """
    # A pgstac built from its repository is called that.
    if found == "unreleased":
        return
    if found is None or found.split(".")[:2] != _OURS.split(".")[:2]:
        raise PgstacMissing(
            f"The database has pgstac {found or 'of no version'}, and this program writes to {_OURS}. "
            "Run `maap-stac migrate`."
        )
