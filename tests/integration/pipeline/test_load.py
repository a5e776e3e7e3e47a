"""Deciding and loading batches against a real pgstac and ledger."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.governance.registry import Registry, load_registry
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pgstac.collections import create_missing
from maap_stac_orchestration.pgstac.items import lock_writers, prepare_partition
from maap_stac_orchestration.pipeline.batch import ItemCounts, JobOutcome
from maap_stac_orchestration.pipeline.load import load_jobs
from maap_stac_orchestration.problems import Code, Problem
from tests.integration.pgstac.stac import new_collection
from tests.integration.pipeline.batches import SETTINGS, START, Written, claim, decided, document, ingest, record

Connection = psycopg.Connection[Any]
DEFAULT = "henrydevseed__mosaic__v1__demo"
SHARED = load_registry("version: 1\ngrants:\n  - {collection: shared, users: ['*'], create: true}\n", "test", None)
CLOSED = load_registry("version: 1\non_denied: reject\ngrants: []\n", "test", None)


def one(conn: Connection, job: Written, registry: Registry | None = None, run_id: str = "run-1") -> JobOutcome:
    """Ingests one job alone."""
    return ingest(conn, [job], registry, run_id)[job.prefix]


def items(conn: Connection, collection: str = DEFAULT) -> dict[str, dict[str, Any]]:
    rows = conn.execute(
        "SELECT pgstac.get_item(id, collection) FROM pgstac.items WHERE collection = %s", (collection,)
    ).fetchall()
    return {row[0]["id"]: row[0] for row in rows}


def codes(outcome: JobOutcome) -> list[Code]:
    return [problem.code for problem in outcome.problems]


def test_items_that_ask_for_nothing_go_to_the_default_collection(connection: Connection) -> None:
    job = Written([document("a"), document("b", west=10.0)])
    outcome = one(connection, job)
    assert (outcome.state, outcome.counts) == (State.LOADED, ItemCounts(loaded=2))
    assert outcome.collections == (DEFAULT,)
    found = items(connection)
    assert set(found) == {"a", "b"}
    properties = found["a"]["properties"]
    assert (properties["maap:username"], properties["maap:tag"]) == ("henrydevseed", "demo")
    assert properties["maap:run_id"] == "run-1"
    assert properties["maap:job_prefix"] == job.prefix
    row = connection.execute("SELECT owner, changed_at IS NOT NULL FROM ledger.collection").fetchone()
    assert row == ("henrydevseed", True)
    row = connection.execute("SELECT state, loaded, due_at, collections FROM ledger.job").fetchone()
    assert row == ("loaded", 2, None, [DEFAULT])


def test_a_batch_of_many_jobs_and_collections_ends_each_of_them(connection: Connection) -> None:
    jobs = [
        Written([document(f"{tag}-{number}")], tag=tag, minute=number + 100 * len(tag))
        for tag in ("x", "yy", "zzz")
        for number in range(5)
    ]
    outcomes = ingest(connection, jobs)
    assert [outcomes[job.prefix].counts for job in jobs] == [ItemCounts(loaded=1)] * 15
    assert connection.execute("SELECT count(*), count(DISTINCT collection) FROM pgstac.items").fetchone() == (15, 3)


def tagged(tags: str) -> list[Written]:
    """Jobs of one item, each into a collection of its own."""
    return [Written([document(f"{tag}-item")], tag=tag, minute=number) for number, tag in enumerate(tags)]


def transactions(conn: Connection) -> int:
    """How many wrote the items that there are."""
    row = conn.execute("SELECT count(DISTINCT xmin::text) FROM ledger.item").fetchone()
    assert row is not None
    return int(row[0])


def test_small_jobs_of_many_collections_share_a_transaction(connection: Connection) -> None:
    outcomes = ingest(connection, tagged("abcdef"))
    assert [outcome.state for outcome in outcomes.values()] == [State.LOADED] * 6
    assert transactions(connection) == 1


def test_while_somebody_writes_to_a_collection_the_others_are_loaded_by_themselves(
    connection: Connection, database: str
) -> None:
    jobs = tagged("abc")
    record(connection, jobs)
    batch = claim(connection)
    ready = decided(connection, jobs, batch)
    with psycopg.connect(database) as other, psycopg.connect(database, autocommit=True) as watcher:
        # The last one, since each waits for its turn. Its partition is there, which else would be waited for first.
        create_missing(other, [new_collection(DEFAULT.replace("demo", "c"))])
        prepare_partition(other, DEFAULT.replace("demo", "c"), [document("c-item")])
        other.commit()
        lock_writers(other, [DEFAULT.replace("demo", "c")])
        with ThreadPoolExecutor() as threads:
            loading = threads.submit(load_jobs, ready, batch, connection, SETTINGS, START)
            question = "SELECT array_agg(id ORDER BY id) FROM pgstac.items"
            while watcher.execute(question).fetchone() != (["a-item", "b-item"],):
                assert not loading.done()
                time.sleep(0.01)
            other.commit()
            assert [outcome.state for outcome in loading.result()] == [State.LOADED] * 3
    assert transactions(connection) == 3


def test_an_item_that_a_database_refuses_costs_the_jobs_beside_it_nothing(connection: Connection) -> None:
    nul = document("nul")
    nul["properties"]["title"] = "a\0b"
    first, _, last = tagged("abc")
    jobs = [first, Written([document("b-item"), nul], tag="b", minute=1), last]
    outcomes = ingest(connection, jobs)
    assert [outcomes[job.prefix].state for job in jobs] == [State.LOADED, State.PARTIAL, State.LOADED]
    assert codes(outcomes[jobs[1].prefix]) == [Code.LOAD_REJECTED]
    assert items(connection, DEFAULT.replace("demo", "b")).keys() == {"b-item"}


def test_a_job_without_items_is_loaded(connection: Connection) -> None:
    outcome = one(connection, Written())
    assert (outcome.state, outcome.counts, outcome.collections) == (State.LOADED, ItemCounts(), ())
    assert connection.execute("SELECT count(*) FROM pgstac.collections").fetchone() == (0,)


def test_a_granted_collection_is_created_for_its_first_job(connection: Connection) -> None:
    outcome = one(connection, Written([document("a"), document("b")], requests={"a": "shared"}), SHARED)
    assert (outcome.state, outcome.collections) == (State.LOADED, (DEFAULT, "shared"))
    assert items(connection, "shared").keys() == {"a"}
    assert items(connection).keys() == {"b"}


def test_a_denied_item_falls_back_and_the_denial_is_on_record(connection: Connection) -> None:
    outcome = one(connection, Written([document("a"), document("b")], requests={"a": "maap-floods"}))
    assert (outcome.state, outcome.counts) == (State.LOADED, ItemCounts(loaded=2, fallback=1))
    assert codes(outcome) == [Code.USER_NOT_AUTHORIZED]
    assert outcome.problems[0].object == "maap-floods"
    assert items(connection).keys() == {"a", "b"}
    rows = connection.execute("SELECT requested, code, outcome, collection FROM ledger.decision ORDER BY 1").fetchall()
    assert rows == [
        ("maap-floods", "user_not_authorized", "fallback", DEFAULT),
        (None, "default_assigned", "default", DEFAULT),
    ]


def test_where_denied_means_rejected_the_other_items_still_load(connection: Connection) -> None:
    outcome = one(connection, Written([document("a"), document("b")], requests={"a": "maap-floods"}), CLOSED)
    assert (outcome.state, outcome.counts) == (State.PARTIAL, ItemCounts(loaded=1, refused=1))
    assert items(connection).keys() == {"b"}


def test_a_job_of_which_everything_is_denied_is_rejected(connection: Connection) -> None:
    outcome = one(connection, Written([document("a")], requests={"a": "maap-floods"}), CLOSED)
    assert (outcome.state, outcome.counts) == (State.REJECTED, ItemCounts(refused=1))
    assert connection.execute("SELECT count(*) FROM pgstac.collections").fetchone() == (0,)


@pytest.mark.parametrize("awaiting", [False, True])
def test_a_job_of_another_identity_is_rejected_whole(connection: Connection, awaiting: bool) -> None:
    job = Written(
        [document("a"), document("b")], metadata_username="somebody", requests={"a": "shared"}, awaiting=awaiting
    )
    outcome = one(connection, job, SHARED)
    assert (outcome.state, outcome.counts) == (State.REJECTED, ItemCounts(refused=2))
    assert codes(outcome) == [Code.IDENTITY_MISMATCH]
    assert outcome.problems[0].object == job.prefix
    assert connection.execute("SELECT count(*) FROM pgstac.items").fetchone() == (0,)


def test_an_item_that_the_database_refuses_stands_alone(connection: Connection) -> None:
    job = Written([document("a"), document("bad", moment="2024-06-31T00:00:00Z"), document("c")])
    other = Written([document("d")], minute=1)
    outcomes = ingest(connection, [job, other])
    assert (outcomes[job.prefix].state, outcomes[job.prefix].counts) == (
        State.PARTIAL,
        ItemCounts(loaded=2, refused=1),
    )
    (problem,) = outcomes[job.prefix].problems
    assert (problem.code, problem.object) == (Code.LOAD_REJECTED, "bad")
    assert "2024-06-31" in problem.message
    assert outcomes[other.prefix].state == State.LOADED
    assert items(connection).keys() == {"a", "c", "d"}


def test_a_job_of_which_the_database_takes_nothing_is_rejected(connection: Connection) -> None:
    outcome = one(connection, Written([document("bad", moment="2024-06-31T00:00:00Z")]))
    assert (outcome.state, outcome.counts) == (State.REJECTED, ItemCounts(refused=1))


def test_what_is_there_of_a_waiting_job_is_loaded(connection: Connection) -> None:
    job = Written([document("a")], awaiting=True)
    assert one(connection, job).state == State.WAITING
    assert items(connection).keys() == {"a"}
    connection.execute("UPDATE ledger.job SET due_at = now()")
    outcome = one(connection, replace(job, awaiting=False))
    assert (outcome.state, outcome.counts) == (State.LOADED, ItemCounts(unchanged=1))


@pytest.mark.parametrize(
    ("items_there", "problem", "state"),
    [
        (1, Problem(Code.ITEM_INVALID, "x"), State.PARTIAL),
        (0, Problem(Code.ITEM_INVALID, "x"), State.REJECTED),
        (0, Problem(Code.CATALOG_MISSING, "x"), State.REJECTED),
        (1, Problem(Code.ASSET_MISSING, "x"), State.LOADED),
        (0, Problem(Code.LINK_CYCLE, "x"), State.LOADED),
    ],
)
def test_what_was_wrong_when_reading_decides_the_end(
    connection: Connection, items_there: int, problem: Problem, state: State
) -> None:
    job = Written([document(f"i-{number}") for number in range(items_there)], problems=(problem,))
    assert one(connection, job).state == state


def test_items_refused_when_reading_are_counted(connection: Connection) -> None:
    problems = (
        Problem(Code.ITEM_INVALID, "one"),
        Problem(Code.GEOMETRY_INVALID, "one"),
        Problem(Code.ITEM_DUPLICATE, "two"),
        Problem(Code.ITEM_DUPLICATE, "two"),
        Problem(Code.ASSET_MISSING, "three"),
    )
    assert one(connection, Written([document("a")], problems=problems)).counts.refused == 3


def stamps(conn: Connection) -> list[tuple[Any, ...]]:
    """Row versions of everything that an unchanged item must leave alone."""
    rows = conn.execute(
        """
        SELECT 'item', id, xmin::text, ctid::text FROM pgstac.items
        UNION ALL SELECT 'ledger', id, xmin::text, ctid::text FROM ledger.item
        UNION ALL SELECT 'collection', id, xmin::text, ctid::text FROM pgstac.collections
        UNION ALL SELECT 'changed', id, changed_at::text, '' FROM ledger.collection
        ORDER BY 1, 2
        """
    ).fetchall()
    conn.rollback()
    return rows


def again(conn: Connection) -> None:
    """Makes all jobs due again, as a request to try again does."""
    conn.execute("UPDATE ledger.job SET state = 'discovered', due_at = now()")
    conn.commit()


def test_loading_twice_changes_nothing(connection: Connection) -> None:
    job = Written([document("a"), document("b")])
    one(connection, job)
    before = stamps(connection)
    again(connection)
    outcome = one(connection, job, run_id="run-2")
    assert (outcome.state, outcome.counts) == (State.LOADED, ItemCounts(unchanged=2))
    assert stamps(connection) == before


def test_an_unchanged_item_of_a_new_catalog_is_not_written_but_noted(connection: Connection) -> None:
    job = Written([document("a"), document("b")])
    one(connection, job)
    before = [stamp for stamp in stamps(connection) if stamp[0] == "item"]
    outcome = one(connection, replace(job, catalog_minute=5))
    assert outcome.counts == ItemCounts(unchanged=2)
    assert [stamp for stamp in stamps(connection) if stamp[0] == "item"] == before
    rows = connection.execute("SELECT DISTINCT catalog_modified - job_time FROM ledger.item").fetchall()
    assert [str(row[0]) for row in rows] == ["0:05:00"]


def test_an_item_that_was_deleted_from_pgstac_is_written_again(connection: Connection) -> None:
    job = Written([document("a"), document("b")])
    one(connection, job)
    connection.execute("DELETE FROM pgstac.items WHERE id = 'a'")
    again(connection)
    assert one(connection, job).counts == ItemCounts(loaded=1, unchanged=1)
    assert items(connection).keys() == {"a", "b"}


def test_a_new_version_of_a_job_replaces_its_items(connection: Connection) -> None:
    one(connection, Written([document("a", title="old")]))
    outcome = one(connection, Written([document("a", title="new")], catalog_minute=2))
    assert outcome.counts == ItemCounts(loaded=1)
    assert items(connection)["a"]["properties"]["title"] == "new"


def test_an_older_job_does_not_overwrite_a_newer_one(connection: Connection) -> None:
    one(connection, Written([document("a", title="newer")], minute=10))
    outcome = one(connection, Written([document("a", title="older"), document("b")], minute=5))
    assert (outcome.state, outcome.counts) == (State.LOADED, ItemCounts(loaded=1, unchanged=1))
    assert items(connection)["a"]["properties"]["title"] == "newer"
    results = connection.execute("SELECT item_id, result FROM ledger.job_item ORDER BY 1, 2").fetchall()
    assert results == [("a", "loaded"), ("a", "older"), ("b", "loaded")]


def test_in_one_batch_the_newest_item_wins_and_the_others_say_so(connection: Connection) -> None:
    older = Written([document("a", title="older")], minute=1)
    newer = Written([document("a", title="newer")], minute=2)
    outcomes = ingest(connection, [newer, older])
    assert outcomes[older.prefix].counts == ItemCounts(unchanged=1)
    assert outcomes[newer.prefix].counts == ItemCounts(loaded=1)
    assert items(connection)["a"]["properties"]["title"] == "newer"


def test_where_the_newest_is_refused_the_next_one_is_written(connection: Connection) -> None:
    older = Written([document("a", title="older")], minute=1)
    newer = Written([document("a", moment="2024-06-31T00:00:00Z")], minute=2)
    outcomes = ingest(connection, [older, newer])
    assert (outcomes[older.prefix].counts, outcomes[newer.prefix].counts) == (
        ItemCounts(loaded=1),
        ItemCounts(refused=1),
    )
    assert items(connection)["a"]["properties"]["title"] == "older"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    versions=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=2, max_size=5, unique=True),
    shuffled=st.randoms(use_true_random=False),
    cuts=st.sets(st.integers(1, 4)),
)
def test_the_newest_wins_in_whatever_order_and_batches_jobs_come(
    connection: Connection, versions: list[tuple[int, int]], shuffled: Any, cuts: set[int]
) -> None:
    row = connection.execute("SELECT count(*) FROM pgstac.collections").fetchone()
    assert row is not None
    tag = f"example-{row[0]}"
    jobs = [
        Written([document("a", title=f"{minute}.{catalog}")], minute=minute, catalog_minute=catalog, tag=tag)
        for minute, catalog in versions
    ]
    shuffled.shuffle(jobs)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(jobs)), len(jobs)]
    for start, end in pairwise(bounds):
        # Of one job, an old version of the catalog is never read after a new one.
        current: dict[str, Written] = {}
        for job in jobs[:end]:
            if job.prefix not in current or current[job.prefix].catalog_minute < job.catalog_minute:
                current[job.prefix] = job
        record(connection, jobs[start:end])
        batch = claim(connection)
        load_jobs(decided(connection, list(current.values()), batch), batch, connection, SETTINGS, START)
    minute, catalog = max(versions)
    found = items(connection, f"henrydevseed__mosaic__v1__{tag}")
    assert found["a"]["properties"]["title"] == f"{minute}.{catalog}"


def test_an_item_of_another_user_is_not_overwritten(connection: Connection) -> None:
    mine = Written([document("a", title="mine"), document("b")], requests={"a": "shared", "b": "shared"})
    theirs = Written(
        [document("a", title="theirs"), document("c")],
        username="somebody",
        minute=9,
        requests={"a": "shared", "c": "shared"},
    )
    one(connection, mine, SHARED)
    outcome = one(connection, theirs, SHARED)
    assert (outcome.state, outcome.counts) == (State.PARTIAL, ItemCounts(loaded=1, refused=1))
    assert [(problem.code, problem.object) for problem in outcome.problems] == [(Code.ITEM_OWNED_BY_OTHER, "a")]
    assert items(connection, "shared")["a"]["properties"]["title"] == "mine"
    assert items(connection, "shared").keys() == {"a", "b", "c"}


def test_in_one_batch_an_item_belongs_to_who_ran_first(connection: Connection) -> None:
    first = Written([document("a", title="first")], minute=1, requests={"a": "shared"})
    second = Written([document("a", title="second")], username="somebody", minute=2, requests={"a": "shared"})
    outcomes = ingest(connection, [second, first], SHARED)
    assert outcomes[first.prefix].state == State.LOADED
    assert codes(outcomes[second.prefix]) == [Code.ITEM_OWNED_BY_OTHER]
    assert items(connection, "shared")["a"]["properties"]["title"] == "first"


def test_a_job_that_another_run_took_is_left_to_it(connection: Connection) -> None:
    mine, lost = Written([document("a")], minute=1), Written([document("b")], minute=2)
    record(connection, [mine, lost])
    batch = claim(connection)
    ready = decided(connection, [mine, lost], batch)
    connection.execute(
        "UPDATE ledger.job SET batch_id = gen_random_uuid(), run_id = 'other' WHERE prefix = %s", (lost.prefix,)
    )
    connection.commit()
    outcomes = load_jobs(ready, batch, connection, SETTINGS, START)
    assert [outcome.claim.prefix for outcome in outcomes] == [mine.prefix]
    assert items(connection).keys() == {"a"}
    assert connection.execute("SELECT id FROM ledger.item").fetchall() == [("a",)]
    assert connection.execute("SELECT state FROM ledger.job WHERE run_id = 'other'").fetchone() == ("ingesting",)


def test_an_id_that_no_database_can_keep_is_denied_like_any_other(connection: Connection) -> None:
    outcome = one(connection, Written([document("a")], requests={"a": "a\0b"}))
    assert (outcome.state, codes(outcome)) == (State.LOADED, [Code.INVALID_NAME])


def test_a_default_collection_whose_id_is_taken_but_for_case_refuses_its_items_only(connection: Connection) -> None:
    one(connection, Written([document("a")], username="Ana"))
    connection.execute("DELETE FROM ledger.default_collection")
    connection.commit()
    conflicting, other = Written([document("b")], username="ana"), Written([document("c")], minute=1)
    outcomes = ingest(connection, [conflicting, other])
    assert (outcomes[conflicting.prefix].state, codes(outcomes[conflicting.prefix])) == (
        State.REJECTED,
        [Code.NAME_CONFLICT],
    )
    assert "Ana__mosaic__v1__demo" in outcomes[conflicting.prefix].problems[0].message
    assert outcomes[other.prefix].state == State.LOADED


def test_a_name_that_the_ledger_remembers_in_another_case_stays_taken(connection: Connection) -> None:
    connection.execute("INSERT INTO ledger.collection (id) VALUES ('Shared')")
    connection.commit()
    outcome = one(connection, Written([document("a"), document("b")], requests={"a": "shared"}), SHARED)
    assert (outcome.state, outcome.counts) == (State.PARTIAL, ItemCounts(loaded=1, refused=1))
    assert codes(outcome) == [Code.NAME_CONFLICT]
    assert connection.execute("SELECT id FROM pgstac.collections").fetchall() == [(DEFAULT,)]
