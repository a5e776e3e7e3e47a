"""A run of a backfill: lists its day, takes on what is missing or changed, and says what it found."""

from __future__ import annotations

import dagster as dg
import pytest

from maap_stac_orchestration.discovery.found import SourceUnavailable
from tests.integration.dagster.conftest import Location
from tests.integration.dagster.jobs import PREFIX, metadata_of, put_job

DAY = "2025-08-19"
BACKFILL = {"dagster/backfill": "abc"}


def put_jobs(location: Location, number: int) -> list[str]:
    prefixes = [PREFIX.replace("000001", f"{one:06}") for one in range(1, number + 1)]
    for position, prefix in enumerate(prefixes):
        put_job(location, prefix, item_id=f"item-{position}")
    return prefixes


def backfilled(location: Location) -> dg.ExecuteInProcessResult:
    done = location.run(DAY, tags=BACKFILL)
    assert done.success
    return done


def test_what_was_found_loaded_unchanged_and_refused_stands_at_the_last_stage(location: Location) -> None:
    prefixes = put_jobs(location, 3)
    location.store.put(prefixes[2] + "item-0.json", b"no item")
    told = metadata_of(backfilled(location), "pgstac_items")
    assert {name: told[name] for name in ("found", "found_new", "found_unchanged")} == {
        "found": 3,
        "found_new": 3,
        "found_unchanged": 0,
    }
    assert (told["jobs"], told["loaded"], told["unchanged"], told["refused"]) == (3, 2, 0, 1)
    assert (told["day/jobs"], told["day/items"], told["day/items_refused"]) == (3, 2, 1)
    assert told["day/found_in_buckets"] == 3


def test_a_second_backfill_reads_nothing_again_and_says_that_all_is_unchanged(location: Location) -> None:
    put_jobs(location, 3)
    backfilled(location)

    def nothing_is_read() -> object:
        raise AssertionError("a catalog that is known was read again")

    location.overrides["objects"] = nothing_is_read
    told = metadata_of(backfilled(location), "pgstac_items")
    assert (told["found"], told["found_new"], told["found_unchanged"], told["jobs"]) == (3, 0, 3, 0)
    # What stands for the day is what it was.
    assert (told["day/loaded"], told["day/items"]) == (3, 3)


def test_a_catalog_that_changed_since_is_read_again_and_the_others_are_not(location: Location) -> None:
    prefixes = put_jobs(location, 3)
    backfilled(location)
    put_job(location, prefixes[0], item_id="another")
    told = metadata_of(backfilled(location), "pgstac_items")
    # The catalog itself reads as before, so its etag is what it was; a new item alone comes by a retry.
    assert (told["found_new"], told["jobs"]) == (0, 0)
    location.store.put(prefixes[0] + "catalog.json", _with_another_description(location, prefixes[0]))
    told = metadata_of(backfilled(location), "pgstac_items")
    assert (told["found"], told["found_new"], told["found_unchanged"]) == (3, 1, 2)
    assert (told["jobs"], told["loaded"]) == (1, 1)


def _with_another_description(location: Location, prefix: str) -> bytes:
    body = location.store.client().get_object(Bucket=location.store.bucket, Key=prefix + "catalog.json")["Body"].read()
    assert isinstance(body, bytes)
    return body.replace(b"of a test", b"of another test")


def test_the_rest_of_a_day_that_is_more_than_a_batch_is_asked_for_until_it_is_complete(location: Location) -> None:
    location.settings = location.settings.model_copy(update={"max_batch_jobs": 2})
    put_jobs(location, 5)
    told = metadata_of(backfilled(location), "pgstac_items")
    assert (told["found"], told["jobs"], told["day/discovered"]) == (5, 2, 3)

    asked = []
    while requests := location.tick("new_catalogs").run_requests:
        (request,) = requests
        assert request.partition_key == DAY
        asked.append(request.tags["maap/source"])
        assert location.run(DAY, tags=request.tags).success
    assert asked == ["backlog", "backlog"]
    assert set(location.states().values()) == {"loaded"}


def test_a_bucket_that_cannot_be_listed_makes_the_run_red_and_is_named(location: Location) -> None:
    put_jobs(location, 1)
    location.settings = location.settings.model_copy(update={"buckets": (location.store.bucket, "gone")})
    failed = location.run(DAY, tags=BACKFILL, raises=False)
    assert not failed.success
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    error = failure.step_failure_data.error
    assert error is not None
    assert error.cause is not None
    assert SourceUnavailable.__name__ in error.cause.message
    assert "gone" in error.cause.message


@pytest.mark.parametrize(("source", "due_at_once"), [("history", False), ("reconcile", True)])
def test_what_the_history_finds_waits_behind_live_work_and_what_events_had_missed_does_not(
    location: Location, source: str, due_at_once: bool
) -> None:
    location.settings = location.settings.model_copy(update={"max_batch_jobs": 1})
    put_jobs(location, 2)
    run_config = {"ops": {"dps_catalogs": {"config": {"list_first": True}}}}
    assert location.run(DAY, tags={"maap/source": source}, run_config=run_config).success
    (request,) = location.tick("new_catalogs").run_requests
    assert (request.tags["maap/source"] == "live") is due_at_once
    assert ("maap/lane" in request.tags) is not due_at_once
