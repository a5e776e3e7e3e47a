"""A code location over a fresh database and an empty bucket, with a Dagster instance of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
import pytest

from maap_stac_orchestration import log_events
from maap_stac_orchestration.definitions import build_defs
from maap_stac_orchestration.ledger.connection import Connection, connect
from maap_stac_orchestration.ledger.discovery import record
from maap_stac_orchestration.ledger.records import SeenCatalog
from maap_stac_orchestration.pipeline.discover import Queue
from maap_stac_orchestration.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import MotoStore


class Location:
    """What a test holds in its hands: definitions, instance, settings, and the real things below them."""

    def __init__(self, database: str, store: MotoStore, instance: dg.DagsterInstance, folder: Path) -> None:
        self.database, self.store, self.instance = database, store, instance
        self.settings = Settings(buckets=(store.bucket,), batch_store=str(folder), public_url="http://stac.test")
        self.queue: Queue | None = None
        self.overrides: dict[str, Any] = {}

    def resources(self) -> dict[str, Any]:
        """What differs from production: addresses."""
        return {
            "settings": lambda: self.settings,
            "ledger": self.connect,
            "queue": lambda settings: self.queue,
            "listing": self.store.client,
            **self.overrides,
        }

    def connect(self) -> Connection:
        """A connection to the test's database."""
        return connect(self.database)

    @property
    def defs(self) -> dg.Definitions:
        """The definitions with the present overrides."""
        from assets.handover import batches

        return build_defs(resource_overrides={"batches": batches(lambda: self.settings), **self.resources()})

    def run(self, day: str, *, raises: bool = True, **arguments: Any) -> dg.ExecuteInProcessResult:
        """Runs the job `ingest` for a day in this process."""
        job = self.defs.resolve_job_def("ingest")
        return job.execute_in_process(partition_key=day, instance=self.instance, raise_on_error=raises, **arguments)

    def again_from_failure(self, run_id: str, day: str) -> bool:
        """Runs the failed steps of a run again, as "Re-execute from failure" in the UI does."""
        options = dg.ReexecutionOptions.from_failure(run_id, self.instance)
        _locations.append(self)
        try:
            job = dg.build_reconstructable_job(__name__, "present_job", (len(_locations), id(self)))
            tags = {"dagster/partition": day}
            with dg.execute_job(job, self.instance, reexecution_options=options, tags=tags) as result:
                return result.success
        finally:
            _locations.pop()

    def tick(self, name: str, cursor: str | None = None) -> Any:
        """Evaluates a sensor once, as the daemon does."""
        defs = self.defs
        sensor = defs.resolve_sensor_def(name)
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=cursor,
            definitions=defs,
            sensor_name=name,
            resources=defs.resources,
        ) as context:
            return sensor.evaluate_tick(context)

    def scheduled(self, name: str, at: datetime | None = None) -> Any:
        """Evaluates a schedule once, as the daemon does at this time."""
        defs = self.defs
        schedule = defs.resolve_schedule_def(name)
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=at or datetime.now(UTC),
            resources={key: value for key, value in (defs.resources or {}).items() if key in ("settings", "ledger")},
            repository_def=defs.get_repository_def(),
        ) as context:
            return schedule.evaluate_tick(context)

    def states(self) -> dict[str, str]:
        """Output prefix -> state."""
        with self.connect() as conn:
            return dict(conn.execute("SELECT prefix, state FROM ledger.job").fetchall())

    def record_version(self, key: str, etag: str) -> None:
        """Makes another version of a catalog known."""
        with self.connect() as conn:
            record(conn, [SeenCatalog(self.store.bucket, key, etag, 2, datetime.now(UTC), None, "event")])
            conn.commit()

    def record(self, *keys: str, priority: int = 0) -> None:
        """Makes catalogs known."""
        now = datetime.now(UTC)
        with self.connect() as conn:
            record(
                conn,
                [SeenCatalog(self.store.bucket, key, "etag", 2, now, None, "event", priority) for key in keys],
            )
            conn.commit()

    def item_ids(self) -> list[str]:
        """Ids of the items in pgstac."""
        with psycopg.connect(self.database) as conn:
            return [row[0] for row in conn.execute("SELECT id FROM pgstac.items ORDER BY id")]


#: Dagster re-executes only what it can find by name again: the location that a test is using.
_locations: list[Location] = []


def present_job(*_: object) -> dg.JobDefinition:
    """The job `ingest` of the location in use; the arguments keep Dagster from taking one that it remembers."""
    return _locations[-1].defs.resolve_job_def("ingest")


@pytest.fixture(autouse=True)
def _events_as_before() -> Iterator[None]:
    """A run sends log events to stderr of its process, which here is that of all tests."""
    logger = logging.getLogger(log_events.LOGGER)
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on SQLite."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as made:
        yield made


@pytest.fixture
def location(database: str, object_store: MotoStore, instance: dg.DagsterInstance, tmp_path: Path) -> Location:
    """The code location."""
    return Location(database, object_store, instance, tmp_path / "batches")
