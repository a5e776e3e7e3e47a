"""A catalog that is seen is known once, makes its job due once, and the newest version counts, in whatever order."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest

from maap_stac_orchestration.ledger.discovery import record, unknown, with_root
from maap_stac_orchestration.ledger.jobs import get_job
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import Recorded, State

from .build import (
    BUCKET,
    WRITTEN,
    Connection,
    column,
    discover,
    ended,
    let_time_pass,
    pin,
    prefix,
    seen,
    states,
    take,
)

SECOND = timedelta(seconds=1)


def test_a_new_catalog_makes_its_job_known_and_due(connection: Connection) -> None:
    job = prefix(7)
    assert discover(connection, seen(job)) == Recorded(new=1, known=0, ignored=0)
    detail = get_job(connection, job)
    assert detail is not None
    found = detail.summary
    assert (found.bucket, found.username, found.algorithm, found.version, found.tag) == (
        BUCKET,
        "ana",
        "flood",
        "v1",
        "demo",
    )
    assert (found.state, detail.generation, found.problem_codes) == (State.DISCOVERED, 1, ())
    assert [transition.state for transition in detail.transitions] == [State.DISCOVERED]
    assert [job.prefix for job in take(connection).jobs] == [job]


def test_a_catalog_that_is_seen_again_changes_nothing(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job))
    finish(connection, batch := take(connection), [ended(batch.jobs[0])])
    connection.commit()
    for source in ("event", "listing", "inventory"):
        assert discover(connection, seen(job, source=source)) == Recorded(new=0, known=1, ignored=0)
    assert states(connection) == {job: "loaded"}


def test_events_that_come_three_times_in_any_order_give_one_catalog_each(connection: Connection) -> None:
    events = [seen(prefix(number)) for number in range(20)] * 3
    random.Random(1).shuffle(events)
    recorded = [discover(connection, *events[start : start + 7]) for start in range(0, len(events), 7)]
    assert sum(one.new for one in recorded) == 20
    assert sum(one.known for one in recorded) == 40
    assert connection.execute("SELECT count(*), max(generation) FROM ledger.job").fetchone() == (20, 1)


def test_keys_outside_any_output_prefix_are_counted_and_forgotten(connection: Connection) -> None:
    stray = [seen("ana/stuff/"), seen("shared/"), seen("ana/dps_output/flood/v1/2025/13/45/00/00/00/000000/")]
    assert discover(connection, *stray, seen(prefix())) == Recorded(new=1, known=0, ignored=3)
    assert connection.execute("SELECT count(*) FROM ledger.catalog").fetchone() == (1,)


def test_a_new_version_makes_an_ended_job_due_again(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job, "a"))
    batch = take(connection)
    finish(connection, batch, [ended(batch.jobs[0], State.REJECTED)])
    connection.commit()
    discover(connection, seen(job, "b", at=WRITTEN + 5 * SECOND))
    assert states(connection) == {job: "discovered"}
    [again] = take(connection).jobs
    assert (again.generation, again.attempt, again.catalogs) == (2, 1, {f"{job}catalog.json": "b"})
    assert again.catalog_modified == WRITTEN + 5 * SECOND


def test_an_older_version_that_comes_late_is_known_and_changes_nothing(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job, "b", at=WRITTEN))
    batch = take(connection)
    finish(connection, batch, [ended(batch.jobs[0])])
    connection.commit()
    assert discover(connection, seen(job, "a", at=WRITTEN - 5 * SECOND)) == Recorded(new=1, known=0, ignored=0)
    assert states(connection) == {job: "loaded"}
    assert column(connection, "generation", job) == 1
    detail = get_job(connection, job)
    assert detail is not None
    assert {catalog.etag: catalog.current for catalog in detail.catalogs} == {"a": False, "b": True}


def test_versions_of_one_second_both_count_because_listings_give_no_more(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job, "a", at=WRITTEN + timedelta(milliseconds=700)))
    discover(connection, seen(job, "b", at=WRITTEN, source="listing"))
    assert column(connection, "generation", job) == 2
    assert take(connection).jobs[0].catalogs == {f"{job}catalog.json": "b"}


def test_what_a_listing_finds_is_what_lies_there_whatever_its_date(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job, "a", at=WRITTEN))
    # A multipart upload bears the date of its beginning.
    discover(connection, seen(job, "b", at=WRITTEN - timedelta(minutes=1), source="listing"))
    assert take(connection).jobs[0].catalogs == {f"{job}catalog.json": "b"}


def test_a_version_that_comes_back_counts_again(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job, "a", at=WRITTEN))
    discover(connection, seen(job, "b", at=WRITTEN + 5 * SECOND))
    assert discover(connection, seen(job, "a", at=WRITTEN + 10 * SECOND)).new == 0
    assert column(connection, "generation", job) == 3
    assert take(connection).jobs[0].catalogs == {f"{job}catalog.json": "a"}
    connection.rollback()
    # The first event of it, delivered once more, does not.
    discover(connection, seen(job, "b", at=WRITTEN + 5 * SECOND))
    assert column(connection, "generation", job) == 3


def test_a_job_known_by_nested_catalogs_only_gives_the_root_some_time(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job, name="tiles/catalog.json"))
    assert take(connection).jobs == ()
    discover(connection, seen(job))
    assert take(connection).jobs[0].catalogs == {f"{job}catalog.json": "a", f"{job}tiles/catalog.json": "a"}


def test_a_job_without_a_root_catalog_is_due_after_that_time(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job, name="tiles/catalog.json"))
    delay = connection.execute("SELECT due_at - discovered_at FROM ledger.job").fetchone()
    assert delay is not None
    assert timedelta(seconds=9) < delay[0] <= timedelta(seconds=10)
    let_time_pass(connection)
    assert take(connection).jobs[0].catalogs == {f"{job}tiles/catalog.json": "a"}


def test_nested_catalogs_that_were_read_with_the_job_are_no_news(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job))
    batch = take(connection)
    nested = f"{job}tiles/catalog.json"
    finish(connection, batch, [ended(batch.jobs[0], read=[pin(f"{job}catalog.json", "a"), pin(nested, "n")])])
    connection.commit()
    assert discover(connection, seen(job, "n", name="tiles/catalog.json", at=WRITTEN + SECOND)).known == 1
    assert states(connection) == {job: "loaded"}
    discover(connection, seen(job, "m", name="tiles/catalog.json", at=WRITTEN + timedelta(days=4000)))
    assert states(connection) == {job: "discovered"}


def test_a_waiting_job_is_due_at_once_when_a_catalog_comes(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job))
    batch = take(connection)
    finish(connection, batch, [ended(batch.jobs[0], State.WAITING)])
    connection.commit()
    assert take(connection).jobs == ()
    discover(connection, seen(job, "b", at=WRITTEN + 5 * SECOND))
    assert [one.generation for one in take(connection).jobs] == [2]


def test_live_work_comes_before_a_backfill_also_for_a_job_that_the_backfill_found(connection: Connection) -> None:
    old, older, live = prefix(1), prefix(2), prefix(3)
    discover(connection, seen(old, priority=10), seen(older, priority=10))
    discover(connection, seen(live))
    assert [job.prefix for job in take(connection, max_jobs=1).jobs] == [live]
    discover(connection, seen(older, "b", at=WRITTEN + 5 * SECOND))
    assert [job.prefix for job in take(connection, max_jobs=1).jobs] == [older]


def test_a_catalog_with_many_links_counts_for_many_items(connection: Connection) -> None:
    small, large = prefix(1), prefix(2)
    discover(connection, seen(small, size=600), seen(large, size=1_500_000), seen(prefix(3), size=5 * 2**40))
    assert column(connection, "estimated_items", small) < 5
    assert 5_000 < column(connection, "estimated_items", large) < 20_000


def test_where_no_transaction_is_open_each_part_is_committed(connection: Connection, database: str) -> None:
    record(connection, [seen(prefix())])
    with psycopg.connect(database) as other:
        assert other.execute("SELECT count(*) FROM ledger.job").fetchone() == (1,)


def test_inside_a_transaction_nothing_is_committed_before_the_caller_does(
    connection: Connection, database: str
) -> None:
    connection.execute("SELECT 1")
    record(connection, [seen(prefix())])
    with psycopg.connect(database) as other:
        assert other.execute("SELECT count(*) FROM ledger.job").fetchone() == (0,)


def test_a_long_stream_is_written_in_parts(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maap_stac_orchestration.ledger.discovery.CHUNK", 10)
    assert record(connection, (seen(prefix(number)) for number in range(35))).new == 35


def test_those_who_record_the_same_at_once_do_not_hinder_each_other(database: str, connection: Connection) -> None:
    sightings = [seen(prefix(number), etag) for number in range(200) for etag in "abc"]

    def work(number: int) -> int:
        mine = list(sightings)
        random.Random(number).shuffle(mine)
        with psycopg.connect(database) as own:
            new = 0
            for start in range(0, len(mine), 50):
                new += record(own, mine[start : start + 50]).new
                own.commit()
            return new

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == len(sightings)
    assert connection.execute("SELECT count(*) FROM ledger.job").fetchone() == (200,)
    assert connection.execute("SELECT count(*) FROM ledger.catalog").fetchone() == (600,)


def test_recording_a_version_while_a_run_is_at_work_leaves_the_lease(connection: Connection) -> None:
    job = prefix()
    discover(connection, seen(job))
    take(connection)
    discover(connection, seen(job, "b", at=WRITTEN + 5 * SECOND))
    assert states(connection) == {job: "ingesting"}
    assert take(connection).jobs == ()


def test_what_would_be_news_can_be_asked_without_writing(connection: Connection) -> None:
    known_job, other = prefix(1), prefix(2)
    discover(connection, seen(known_job))
    asked = [seen(known_job), seen(known_job, "b"), seen(other), seen(other), seen("elsewhere/")]
    news = unknown(connection, asked)
    assert sorted((one.key, one.etag) for one in news) == [
        (f"{known_job}catalog.json", "b"),
        (f"{other}catalog.json", "a"),
    ]
    assert list(states(connection)) == [known_job]
    assert discover(connection, *news) == Recorded(new=2, known=0, ignored=0)
    assert unknown(connection, asked) == []


def test_jobs_of_which_a_root_catalog_is_known_are_told(connection: Connection) -> None:
    rooted, nested, other = prefix(1), prefix(2), prefix(3)
    discover(connection, seen(rooted), seen(nested, name="a/catalog.json"))
    assert with_root(connection, BUCKET, [rooted, nested, other]) == {rooted}
    assert with_root(connection, "another-bucket", [rooted]) == set()
