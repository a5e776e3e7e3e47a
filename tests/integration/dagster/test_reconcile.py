"""The nightly look at the last days: what events had missed is ingested and told, with a real queue that lost some."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from assets.checks import EVENTS_COMPLETE
from tests.integration.dagster.conftest import Location
from tests.integration.dagster.jobs import listing_first, metadata_of, put_job
from tests.integration.dagster.test_new_catalogs import with_queue

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


def prefix(number: int) -> str:
    return f"ana/dps_output/alg/v1/tag/{YESTERDAY:%Y/%m/%d}/12/00/00/{number:06}/"


@pytest.fixture
def queued(location: Location, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A location with a queue, to which an event is on its way for no time at all: objects of a test are new."""
    from maap_stac_orchestration.ledger import listings_of_day

    url = with_queue(location)
    location.settings = location.settings.model_copy(update={"queue_url": url})
    monkeypatch.setattr(listings_of_day, "ON_ITS_WAY", timedelta(seconds=-5))
    return location


def lose_events(location: Location) -> None:
    """Takes what waits in the queue out of it, as no consumer of ours would."""
    queue: Any = location.store.client("sqs")
    queue.purge_queue(QueueUrl=location.settings.queue_url)


def reconciled(location: Location) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
    """Runs yesterday as the schedule asks for it; gives what the first stage tells, and the check."""
    schedule = location.scheduled("reconcile_recent")
    request = schedule.run_requests[0]
    assert request.partition_key == YESTERDAY.isoformat()
    done = location.run(request.partition_key, run_config=request.run_config, tags=request.tags)
    assert done.success
    return metadata_of(done, "dps_catalogs"), events_complete(done)


def events_complete(done: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (evaluation,) = [one for one in done.get_asset_check_evaluations() if one.check_name == EVENTS_COMPLETE]
    return evaluation


def missed_since_ever(location: Location) -> int:
    with location.connect() as conn:
        row = conn.execute("SELECT missed FROM ledger.listed_day WHERE day = %s", [YESTERDAY]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_lost_event_is_made_up_for_and_told_and_the_next_night_is_green_again(queued: Location) -> None:
    put_job(queued, prefix(1))
    lose_events(queued)
    put_job(queued, prefix(2), item_id="two")
    queued.tick("new_catalogs")
    assert set(queued.states()) == {prefix(2)}

    told, check = reconciled(queued)
    assert queued.states() == {prefix(1): "loaded", prefix(2): "loaded"}
    assert (told["found"], told["found_new"], told["missed_by_events"]) == (2, 1, 1)
    assert (check.passed, check.severity, check.partition) == (
        False,
        dg.AssetCheckSeverity.WARN,
        YESTERDAY.isoformat(),
    )
    assert check.description is not None
    assert check.description.startswith(f"Events had missed 1 catalog of {YESTERDAY}; a listing found it.")
    table = check.metadata["missed_table"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["job"] for record in table.records] == [prefix(1)]
    since = check.metadata["missed_written_since"].value
    assert abs(float(str(since)) - datetime.now(UTC).timestamp()) < 600
    assert missed_since_ever(queued) == 1

    assert not events_complete(queued.run(YESTERDAY.isoformat())).passed, "a run without a listing knows nothing new"
    told, check = reconciled(queued)
    assert (told["found_new"], told["missed_by_events"]) == (0, 0)
    assert check.passed
    assert missed_since_ever(queued) == 1


def test_what_waits_in_the_queue_was_not_missed(queued: Location) -> None:
    put_job(queued, prefix(1))
    told, check = reconciled(queued)
    assert (told["found"], told["found_new"], told["missed_by_events"]) == (1, 0, 0)
    assert check.passed


def test_a_catalog_whose_event_may_be_on_its_way_was_not_missed(
    queued: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maap_stac_orchestration.ledger import listings_of_day

    monkeypatch.setattr(listings_of_day, "ON_ITS_WAY", timedelta(minutes=10))
    put_job(queued, prefix(1))
    lose_events(queued)
    told, check = reconciled(queued)
    assert (told["found_new"], told["missed_by_events"]) == (1, 0)
    assert check.passed
    assert queued.states() == {prefix(1): "loaded"}


def test_without_a_queue_nothing_can_be_missed(location: Location) -> None:
    put_job(location, prefix(1))
    told, check = reconciled(location)
    assert told["found_new"] == 1
    assert "missed_by_events" not in told
    assert check.passed


def test_while_the_queue_cannot_be_read_nothing_is_said_of_what_it_missed(queued: Location) -> None:
    put_job(queued, prefix(1))
    queued.store.client("sqs").delete_queue(QueueUrl=queued.settings.queue_url)
    told, check = reconciled(queued)
    assert told["found_new"] == 1
    assert "missed_by_events" not in told
    assert check.passed


def test_listing_the_day_by_hand_makes_it_green_too(queued: Location) -> None:
    put_job(queued, prefix(1))
    lose_events(queued)
    assert not reconciled(queued)[1].passed
    done = queued.run(YESTERDAY.isoformat(), run_config=listing_first())
    assert events_complete(done).passed
