"""Dagster's Postgres storage that keeps its connections.

Here belongs how Dagster's processes reach their database. Not here: pgstac's and the ledger's connections (`ledger`).

dagster-postgres opens a connection for each statement (except in the webserver): 118 of them for a run of three steps,
which is most of the 22 ms that an event costs, and half of it is the server's, who forks and checks a password each
time. It has a hook by which the webserver keeps a pool; here every process uses it. A kept connection is asked for a
sign of life before it is used (0.1 ms): after the database was restarted, a page would otherwise be an error once, and
a tick red.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from dagster._core.storage.config import PostgresStorageConfig
from dagster._serdes import ConfigurableClassData
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import Pool

#: Milliseconds; a statement that takes longer hangs.
_STATEMENT_TIMEOUT = 600_000
#: Seconds after which a kept connection is replaced.
_RECYCLE = 900
#: Connections beyond the kept one; the daemon has a dozen threads.
_OVERFLOW = 20


# Of all pools: the hook makes engines of its own, in the webserver a second time, and takes no such option.
@event.listens_for(Pool, "checkout")
def _alive(connection: Any, record: object, proxy: object) -> None:
    """Has SQLAlchemy replace a connection that is dead."""
    del record, proxy
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        cursor.close()
        if not getattr(connection, "autocommit", True):
            connection.rollback()
    except connection.Error as error:
        raise DisconnectionError from error


class PooledPostgresStorage(DagsterPostgresStorage):
    """For `storage: custom:` in dagster.yaml, with the configuration of `storage: postgres:`."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledPostgresStorage:
        """Dagster calls this."""
        config = cast(PostgresStorageConfig, config_value)
        storage = cls(
            inst_data=inst_data,
            postgres_url=pg_url_from_config(config),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            token_provider=get_token_provider_from_config(config),
        )
        for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
            part.optimize_for_webserver(_STATEMENT_TIMEOUT, pool_recycle=_RECYCLE, max_overflow=_OVERFLOW)
        return storage
