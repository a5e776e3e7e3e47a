"""The job `retry`: filled in at the launchpad, it makes jobs due, and its run tells which."""

from __future__ import annotations

from datetime import date
from typing import Any

import dagster as dg
import pytest

from assets.retry import RetryConfig, _asked, retry_job
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import FinishedJob, State
from maap_stac_orchestration.pipeline.retry import DEFAULT_LIMIT
from tests.integration.dagster.conftest import Location
from tests.integration.dagster.jobs import PREFIX, put_job
from tests.integration.ledger.build import take

DAY = "2025-08-19"
OTHER = PREFIX.replace("ana/", "ben/")


def retry(location: Location, *, raises: bool = True, **config: Any) -> dg.ExecuteInProcessResult:
    """Runs the job with this filled in."""
    job = location.defs.resolve_job_def("retry")
    run_config = {"ops": {"retry": {"config": config}}}
    return job.execute_in_process(run_config=run_config, instance=location.instance, raise_on_error=raises)


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The run's metadata, as plain values."""
    (event,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def ends(location: Location, *prefixes: str, state: State = State.REJECTED) -> None:
    """Makes jobs known that ended so."""
    location.record(*(f"{prefix}catalog.json" for prefix in prefixes))
    with location.connect() as conn:
        batch = take(conn, day=date.fromisoformat(DAY))
        finish(conn, batch, [FinishedJob(one, state) for one in batch.jobs])
        conn.commit()


def test_a_repaired_job_is_tried_again_and_loaded_by_the_run_that_the_sensor_asks_for(location: Location) -> None:
    put_job(location)
    location.store.client().delete_object(Bucket=location.store.bucket, Key=f"{PREFIX}item-0.json")
    ends(location, PREFIX)
    put_job(location)  # only the item is new to the ledger's eyes: the catalog's event is not looked at
    result = retry(location, code=None, state="rejected", since=DAY)
    assert result.success
    (request,) = location.tick("new_catalogs").run_requests
    assert request.partition_key == DAY
    location.run(DAY)
    assert location.states() == {PREFIX: "loaded"}


def test_the_run_tells_which_jobs_and_stands_in_their_history(location: Location) -> None:
    ends(location, PREFIX, OTHER)
    result = retry(location, username="ana", by="bea", reason="the bucket was closed")
    metadata = told(result)
    assert (metadata["jobs"], metadata["matched"], metadata["jobs_not_shown"]) == (1, 1, 0)
    (row,) = [record.data for record in metadata["jobs_table"].records]
    assert (row["before"], row["job"]) == ("rejected", PREFIX)
    assert metadata["jobs_of_this_run"] == f"http://stac.test/jobs?run_id={result.run_id}"
    with location.connect() as conn:
        detail = get_job(conn, PREFIX)
    assert detail is not None
    last = detail.transitions[-1]
    assert last.reason == f"bea (Dagster run {result.run_id}) asked to try it again: the bucket was closed"
    assert last.run_id == result.run_id
    assert location.states() == {PREFIX: "discovered", OTHER: "rejected"}


def test_jobs_are_named_too_and_what_is_not_known_is_told(location: Location) -> None:
    ends(location, PREFIX)
    metadata = told(retry(location, prefixes=[PREFIX, "nobody/"]))
    assert (metadata["jobs"], metadata["unknown"]) == (1, "nobody/")


def test_loaded_jobs_need_force(location: Location) -> None:
    ends(location, PREFIX, state=State.LOADED)
    metadata = told(retry(location, prefixes=[PREFIX]))
    assert (metadata["jobs"], metadata["left_loaded"]) == (0, 1)
    assert told(retry(location, prefixes=[PREFIX], force=True))["jobs"] == 1


def test_a_dry_run_writes_nothing(location: Location) -> None:
    ends(location, PREFIX)
    metadata = told(retry(location, since="1000w", dry_run=True))
    assert (metadata["jobs"], metadata["dry_run"]) == (1, True)
    assert location.states() == {PREFIX: "rejected"}


def test_what_cannot_be_meant_fails_the_run_with_a_sentence(location: Location) -> None:
    result = retry(location, raises=False, force=True)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert str(data.description).startswith("Name jobs by their output prefixes, or pick them by username")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"state": "gone"}, "There is no state gone; the state is one of discovered, ingesting"),
        ({"code": "gone"}, "There is no code gone; the code is one of catalog_missing"),
        ({"since": "yesterday"}, r"'yesterday' is no time\. Write how long ago \(30m, 3h, 2d\)"),
    ],
)
def test_a_condition_that_cannot_be_is_told(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        _asked(RetryConfig(**config))


def test_what_the_launchpad_shows_first_does_nothing(location: Location) -> None:
    ends(location, PREFIX)
    job = location.defs.resolve_job_def("retry")
    result = job.execute_in_process(instance=location.instance)
    assert told(result)["dry_run"]
    assert location.states() == {PREFIX: "rejected"}


def test_runs_are_tagged_and_the_limit_is_that_of_the_other_doors() -> None:
    assert retry_job.tags["maap/source"] == "retry"
    assert RetryConfig().limit == DEFAULT_LIMIT
