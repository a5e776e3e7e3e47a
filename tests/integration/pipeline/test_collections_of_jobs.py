"""What jobs do to collections, against a real pgstac and ledger: describing them, finding them deleted, and whose items
are whose."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from maap_stac_orchestration import log_events
from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.governance.registry import Registry, load_registry
from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.pgstac.collections import refresh_collection
from maap_stac_orchestration.pgstac.items import lock_writers
from maap_stac_orchestration.pipeline.batch import Batch, ItemCounts, JobOutcome
from maap_stac_orchestration.pipeline.curate import patch_collection
from maap_stac_orchestration.pipeline.load import load_jobs
from maap_stac_orchestration.problems import Code
from tests.integration.pipeline.batches import SETTINGS, START, Written, claim, decided, document, ingest, record

Connection = psycopg.Connection[Any]
DEFAULT = "henrydevseed__mosaic__v1__demo"
WITHOUT_TAG = SETTINGS.model_copy(
    update={"default_collection_template": "{username}__{algorithm_name}__{algorithm_version}"}
)
SHARED = load_registry("version: 1\ngrants:\n  - {collection: shared, users: ['*'], create: true}\n", "test", None)
DESCRIBED = load_registry(
    """
version: 1
grants:
  - collection: shared
    users: ['*']
    create: true
    template: {title: Of the registry, keywords: [approved]}
""",
    "test",
    None,
)


def one(
    conn: Connection, job: Written, registry: Registry | None = None, run_id: str = "run-1", settings: Any = SETTINGS
) -> JobOutcome:
    """Ingests one job alone."""
    return ingest(conn, [job], registry, run_id, settings)[job.prefix]


def again(conn: Connection, *jobs: Written) -> None:
    """Makes jobs due again, as a request to try again does."""
    conn.execute(
        "UPDATE ledger.job SET state = 'discovered', due_at = now() WHERE prefix = ANY (%s)",
        ([each.prefix for each in jobs],),
    )
    conn.commit()


def own(id: str = "mosaic", **words: Any) -> dict[str, Any]:
    """A job's own Collection document."""
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": id,
        "description": "Without clouds",
        "license": "CC-BY-4.0",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
        **words,
    }


def job(minute: int, *collections: dict[str, Any], **changed: Any) -> Written:
    """A job of one item, with these documents of its own."""
    return Written([document(f"item-{minute}")], minute=minute, collections=collections, **changed)


def content(conn: Connection, id: str = DEFAULT) -> dict[str, Any]:
    row = conn.execute("SELECT content FROM pgstac.collections WHERE id = %s", (id,)).fetchone()
    conn.rollback()
    assert row is not None
    found: dict[str, Any] = row[0]
    return found


def words(conn: Connection, id: str = DEFAULT) -> dict[str, Any]:
    """The document without what changes by itself."""
    return {name: value for name, value in content(conn, id).items() if name not in {"created", "updated", "extent"}}


def curate(conn: Connection, id: str = DEFAULT, **fields: Any) -> None:
    """What a curator does to a document, by hand."""
    conn.execute("UPDATE pgstac.collections SET content = content || %s WHERE id = %s", (Jsonb(fields), id))
    conn.commit()


def trail(conn: Connection, id: str = DEFAULT) -> list[changes.Change]:
    found = changes.history(conn, subject=id)
    conn.rollback()
    return found


def test_a_later_job_describes_its_owners_collection(connection: Connection) -> None:
    one(connection, job(0))
    outcome = one(connection, job(1, own(title="Mosaics", summaries={"gsd": [30]}, keywords=["HLS"])))
    assert outcome.state is State.LOADED
    found = content(connection)
    assert (found["title"], found["license"], found["summaries"]) == ("Mosaics", "CC-BY-4.0", {"gsd": [30]})
    assert found["id"] == DEFAULT
    assert found["keywords"][0] == "HLS"
    assert "henrydevseed" in found["keywords"]
    assert found["updated"] > found["created"]


def test_what_a_job_described_is_in_the_audit_trail(connection: Connection) -> None:
    one(connection, job(0))
    describing = job(1, own(title="Mosaics"))
    one(connection, describing)
    (change,) = trail(connection)
    assert (change.action, change.via, change.by) == (
        changes.Action.COLLECTION_CHANGED,
        changes.Via.JOB,
        "henrydevseed",
    )
    assert describing.prefix in change.reason
    assert change.detail["before"]["title"] == "mosaic v1, demo (henrydevseed)"
    assert change.detail["after"]["title"] == "Mosaics"


def test_the_document_of_a_job_that_comes_first_is_noted_as_nobodys_writing(connection: Connection) -> None:
    one(connection, job(0, own(title="First", summaries={"gsd": [30]})))
    assert content(connection)["title"] == "First"
    assert trail(connection) == []
    one(connection, job(1, own(title="Second")))
    found = content(connection)
    assert found["title"] == "Second"
    assert "summaries" not in found


def test_what_a_curator_wrote_is_never_overwritten(connection: Connection) -> None:
    one(connection, job(0))
    curate(connection, title="By hand", summaries={"gsd": [10]})
    one(connection, job(1, own(title="Mosaics", summaries={"gsd": [30]})))
    found = content(connection)
    assert (found["title"], found["summaries"], found["license"]) == ("By hand", {"gsd": [10]}, "CC-BY-4.0")


def test_what_a_curator_took_out_stays_out(connection: Connection) -> None:
    one(connection, job(0, own(title="First", summaries={"gsd": [30]})))
    connection.execute("UPDATE pgstac.collections SET content = content - 'summaries'")
    connection.commit()
    one(connection, job(1, own(title="Second", summaries={"gsd": [30]})))
    assert content(connection)["title"] == "Second"
    assert "summaries" not in content(connection)


def test_what_a_curator_wrote_over_a_jobs_words_stays_after_any_number_of_jobs(connection: Connection) -> None:
    for minute in range(3):
        one(connection, job(minute, own(title=f"Of job {minute}", description=f"D {minute}")))
        if minute == 0:
            curate(connection, title="By hand")
    assert (content(connection)["title"], content(connection)["description"]) == ("By hand", "D 2")


def test_loading_the_same_document_again_changes_nothing(connection: Connection) -> None:
    jobs = [job(0), job(1, own(title="Mosaics", numbers={"a": 1e23, "b": 0.1, "c": [1.0, True, None]}))]
    for each in jobs:
        one(connection, each)
    before, row = content(connection), connection.execute("SELECT xmin::text FROM pgstac.collections").fetchone()
    again(connection, *jobs)
    ingest(connection, jobs, run_id="run-2")
    assert content(connection) == before
    assert connection.execute("SELECT xmin::text FROM pgstac.collections").fetchone() == row
    assert len(trail(connection)) == 1


def test_an_older_jobs_document_does_not_replace_a_newer_ones(connection: Connection) -> None:
    one(connection, job(5, own(title="Newer")))
    one(connection, job(1, own(title="Older", summaries={"gsd": [30]})))
    assert content(connection)["title"] == "Newer"
    assert "summaries" not in content(connection)


def test_an_older_jobs_document_describes_where_the_newer_job_has_none(connection: Connection) -> None:
    one(connection, job(5))
    one(connection, job(1, own(title="Older")))
    assert content(connection)["title"] == "Older"


def test_a_document_that_would_make_the_collection_invalid_leaves_everything_as_it_was(connection: Connection) -> None:
    one(connection, job(0, own(title="First")))
    before = content(connection)
    one(connection, job(1, own(title=7, summaries={"gsd": [30]})))
    assert words(connection) == {name: value for name, value in before.items() if name in words(connection)}
    one(connection, job(0, own(title="Again"), catalog_minute=3))
    assert content(connection)["title"] == "Again"


def test_two_documents_of_one_job_describe_nothing(connection: Connection) -> None:
    one(connection, job(0))
    before = words(connection)
    one(connection, job(1, own(title="One"), own("other", title="Other")))
    assert words(connection) == before


def test_a_job_that_still_waits_describes_nothing_yet(connection: Connection) -> None:
    waiting = job(0, own(title="Mosaics"), awaiting=True)
    assert one(connection, waiting).state is State.WAITING
    assert content(connection)["title"] == "mosaic v1, demo (henrydevseed)"
    again(connection, waiting)
    one(connection, replace(waiting, awaiting=False))
    assert content(connection)["title"] == "Mosaics"


def test_a_document_of_another_name_does_not_describe_a_collection_that_was_asked_for(connection: Connection) -> None:
    one(connection, job(0, requests={"item-0": "shared"}), SHARED)
    one(connection, job(1, own("other", title="Other"), requests={"item-1": "shared"}), SHARED)
    assert content(connection, "shared")["title"] == "shared"
    one(connection, job(2, own("shared", title="Ours"), requests={"item-2": "shared"}), SHARED)
    assert content(connection, "shared")["title"] == "Ours"


def test_another_users_job_does_not_describe_a_collection(connection: Connection) -> None:
    one(connection, job(0, requests={"item-0": "shared"}), SHARED)
    theirs = job(1, own("shared", title="Theirs"), username="somebody", requests={"item-1": "shared"})
    assert one(connection, theirs, SHARED).state is State.LOADED
    assert content(connection, "shared")["title"] == "shared"
    known_collections.transfer(connection, "shared", "somebody")
    connection.commit()
    again(connection, theirs)
    one(connection, theirs, SHARED)
    assert content(connection, "shared")["title"] == "Theirs"


def test_a_collection_from_before_is_described_by_nobodys_job(connection: Connection) -> None:
    before = own("shared", title="From before")
    connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(before),))
    connection.commit()
    for minute in range(2):
        one(connection, job(minute, own("shared", title="Mine"), requests={f"item-{minute}": "shared"}), SHARED)
    assert content(connection, "shared") == before


def test_what_the_registry_says_of_a_collection_stands_over_a_jobs_words(connection: Connection) -> None:
    for minute, title in enumerate(("First", "Second")):
        mine = job(minute, own("shared", title=title, description=title), requests={f"item-{minute}": "shared"})
        one(connection, mine, DESCRIBED)
        found = content(connection, "shared")
        assert (found["title"], found["description"]) == ("Of the registry", title)
        assert found["keywords"] == ["approved", "henrydevseed", "mosaic", "MAAP", "DPS"]


def test_a_job_does_not_write_whose_outputs_a_collection_holds(connection: Connection) -> None:
    one(connection, job(0, own(**{"maap:username": "somebody", "created": "1999-01-01T00:00:00Z"})))
    one(connection, job(1, own(title="T", **{"maap:username": "somebody", "created": "1999-01-01T00:00:00Z"})))
    found = content(connection)
    assert found["maap:username"] == "henrydevseed"
    assert found["created"] > "2000"
    assert found["title"] == "T"


def test_items_are_as_they_were_when_a_job_describes_their_assets(connection: Connection) -> None:
    one(connection, job(0))
    one(connection, job(1, own(item_assets={"data": {"title": "Data"}, "thumbnail": {"title": "Thumbnail"}})))
    one(connection, job(2, own(item_assets={"data": {"title": "Other"}})))
    rows = connection.execute(
        "SELECT pgstac.get_item(id, collection) -> 'assets' FROM pgstac.items ORDER BY id"
    ).fetchall()
    assert rows == [({"data": {"href": f"s3://maap-ops-workspace/item-{minute}.tif"}},) for minute in range(3)]


def test_upkeep_and_description_leave_each_others_fields_alone(connection: Connection) -> None:
    one(connection, job(0, own(title="First")))
    connection.commit()
    refresh_collection(connection, DEFAULT)
    extent = content(connection)["extent"]
    one(connection, job(1, own(title="Second")))
    assert content(connection)["extent"] == extent
    assert content(connection)["title"] == "Second"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=st.lists(
        st.none()
        | st.fixed_dictionaries(
            {}, optional={"title": st.sampled_from(["A", "B", 7]), "gsd": st.sampled_from([10, 30])}
        ),
        min_size=2,
        max_size=5,
    ),
    shuffled=st.randoms(use_true_random=False),
    cuts=st.sets(st.integers(1, 4)),
)
def test_the_newest_document_wins_in_whatever_order_and_batches_jobs_come(
    connection: Connection, documents: list[dict[str, Any] | None], shuffled: Any, cuts: set[int]
) -> None:
    row = connection.execute("SELECT count(*) FROM pgstac.collections").fetchone()
    assert row is not None
    tag = f"example-{row[0]}"
    jobs = [job(minute, *([] if said is None else [own(**said)]), tag=tag) for minute, said in enumerate(documents)]
    valid = [said for said in documents if said is not None and said.get("title") != 7]
    shuffled.shuffle(jobs)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(jobs)), len(jobs)]
    for start, end in pairwise(bounds):
        ingest(connection, jobs[start:end])
    found = content(connection, f"henrydevseed__mosaic__v1__{tag}")
    newest = valid[-1] if valid else {}
    assert found["title"] == newest.get("title", f"mosaic v1, {tag} (henrydevseed)")
    assert found.get("gsd") == newest.get("gsd")
    assert found["license"] == ("CC-BY-4.0" if valid else "other")


def at_once(*works: Callable[[], None]) -> None:
    """Does all of it in threads that begin together; fails where one does."""
    start = threading.Barrier(len(works))
    failed: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            start.wait(60)
            work()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []


def loads(
    database: str, conn: Connection, jobs: Sequence[Written], registry: Registry | None = None
) -> list[Callable[[], None]]:
    """Jobs that are claimed, each by a run of its own, and now to be loaded."""

    def load(batch: Batch) -> None:
        with psycopg.connect(database) as own:
            load_jobs(decided(own, jobs, batch, registry), batch, own, SETTINGS, START)

    works = []
    for each in jobs:
        record(conn, [each])
        works.append(partial(load, claim(conn, f"run-{each.minute}")))
    return works


def test_jobs_that_are_loaded_at_once_leave_the_newest_document(database: str, connection: Connection) -> None:
    one(connection, job(0))
    jobs = [job(minute, own(title=f"Of job {minute}")) for minute in range(1, 7)]
    at_once(*loads(database, connection, jobs))
    assert content(connection)["title"] == "Of job 6"


def test_a_curator_and_jobs_at_once_do_not_undo_each_others_work(database: str, connection: Connection) -> None:
    one(connection, job(0))
    jobs = [job(minute, own(title=f"Of job {minute}", description=f"D {minute}")) for minute in range(1, 5)]

    def patch(**fields: Any) -> None:
        author = changes.Author("henrydevseed", changes.Via.API, "a test")
        with psycopg.connect(database) as own:
            patch_collection(own, SETTINGS, Person("henrydevseed", admin=False), DEFAULT, fields, author)

    at_once(
        *loads(database, connection, jobs),
        partial(patch, title="By hand"),
        partial(patch, license="MIT", keywords=None),
    )
    found = content(connection)
    assert (found["title"], found["license"], found["description"]) == ("By hand", "MIT", "D 4")
    assert "keywords" not in found


def delete(conn: Connection, id: str, moved_to: str | None = None) -> None:
    """What deleting a collection leaves."""
    conn.execute("DELETE FROM pgstac.collections WHERE id = %s", (id,))
    known_collections.delete(conn, id, by="admin", moved_to=moved_to)
    conn.commit()


def collections_of(conn: Connection) -> list[str]:
    ids = [id for (id,) in conn.execute("SELECT id FROM pgstac.collections ORDER BY id")]
    conn.rollback()
    return ids


def codes(outcome: JobOutcome) -> list[tuple[Code, str]]:
    return [(problem.code, problem.object) for problem in outcome.problems]


def test_items_for_a_deleted_default_collection_are_refused_and_the_job_says_why(connection: Connection) -> None:
    one(connection, job(0))
    delete(connection, DEFAULT)
    mixed = Written(
        [document("a"), document("b")], minute=1, requests={"b": "shared"}, collections=(own("shared", title="Ours"),)
    )
    other = job(2, tag="other")
    outcomes = ingest(connection, [mixed, other], SHARED)
    assert (outcomes[mixed.prefix].state, outcomes[mixed.prefix].counts) == (
        State.PARTIAL,
        ItemCounts(loaded=1, refused=1),
    )
    assert codes(outcomes[mixed.prefix]) == [(Code.COLLECTION_NOT_FOUND, DEFAULT)]
    assert f"{DEFAULT} was deleted by admin on 20" in outcomes[mixed.prefix].problems[0].message
    assert outcomes[other.prefix].state is State.LOADED
    assert collections_of(connection) == ["henrydevseed__mosaic__v1__other", "shared"]


def test_a_deleted_collection_that_is_granted_falls_back_as_the_decision_says(connection: Connection) -> None:
    one(connection, job(0, requests={"item-0": "shared"}), SHARED)
    delete(connection, "shared")
    outcome = one(connection, job(1, requests={"item-1": "shared"}), SHARED)
    assert (outcome.state, outcome.counts) == (State.LOADED, ItemCounts(loaded=1, fallback=1))
    assert codes(outcome) == [(Code.COLLECTION_NOT_FOUND, "shared")]
    assert collections_of(connection) == [DEFAULT]


def test_a_deleted_id_in_another_case_stays_taken(connection: Connection) -> None:
    delete(connection, "Shared")
    outcome = one(connection, job(0, requests={"item-0": "shared"}), SHARED)
    assert (outcome.state, codes(outcome)) == (State.LOADED, [(Code.NAME_CONFLICT, "shared")])
    assert collections_of(connection) == [DEFAULT]


def test_a_collection_that_is_deleted_between_decision_and_load_refuses_its_items_only(connection: Connection) -> None:
    one(connection, job(0, requests={"item-0": "shared"}), SHARED)
    jobs = [job(1, requests={"item-1": "shared"}), job(2)]
    record(connection, jobs)
    batch = claim(connection)
    ready = decided(connection, jobs, batch, SHARED)
    delete(connection, "shared")
    outcomes = load_jobs(ready, batch, connection, SETTINGS, START)
    assert [outcome.state for outcome in outcomes] == [State.REJECTED, State.LOADED]
    assert codes(outcomes[0]) == [(Code.COLLECTION_NOT_FOUND, "shared")]
    assert "was deleted by admin" in outcomes[0].problems[0].message


@pytest.mark.parametrize("moved_to", [None, "henrydevseed__mosaic__v1"])
def test_a_collection_that_goes_while_a_load_waits_for_it_is_noticed(
    database: str, connection: Connection, moved_to: str | None
) -> None:
    one(connection, job(0))
    late, other = job(1), job(2, tag="other")
    record(connection, [late, other])
    batch = claim(connection)
    ready = decided(connection, [late, other], batch)
    found: list[JobOutcome] = []

    def run() -> None:
        with psycopg.connect(database, application_name="loading") as conn:
            found.extend(load_jobs(ready, batch, conn, SETTINGS, START))

    # As deleting does: with the writers' lock, for which the load waits after it has looked for tombstones.
    with psycopg.connect(database) as deleting:
        lock_writers(deleting, [DEFAULT])
        thread = threading.Thread(target=run)
        thread.start()
        waiting_for_lock(connection)
        delete(deleting, DEFAULT, moved_to)
    thread.join(120)
    assert found[1].state is State.LOADED
    if moved_to is None:
        assert codes(found[0]) == [(Code.COLLECTION_NOT_FOUND, DEFAULT)]
    else:
        assert (found[0].state, found[0].collections) == (State.LOADED, (moved_to,))


def waiting_for_lock(conn: Connection) -> None:
    """Returns once the load waits for a lock."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loading' AND wait_event_type = 'Lock'"
        ).fetchone()
        conn.rollback()
        if row is not None and row[0]:
            return
        time.sleep(0.02)
    raise AssertionError("The load did not come to wait for a lock.")


def test_items_follow_a_default_collection_that_was_moved(connection: Connection) -> None:
    one(connection, job(0))
    one(connection, job(0, algorithm="other"), settings=WITHOUT_TAG)
    delete(connection, DEFAULT, moved_to="henrydevseed__other__v1")
    outcome = one(connection, job(1))
    assert (outcome.state, outcome.collections) == (State.LOADED, ("henrydevseed__other__v1",))
    row = connection.execute("SELECT collection, message FROM ledger.decision ORDER BY id DESC LIMIT 1").fetchone()
    assert row is not None
    assert row[0] == "henrydevseed__other__v1"


def test_a_collection_that_is_moved_between_decision_and_load_takes_the_items_along(connection: Connection) -> None:
    jobs = [job(0)]
    record(connection, jobs)
    batch = claim(connection)
    ready = decided(connection, jobs, batch)
    delete(connection, DEFAULT, moved_to="henrydevseed__mosaic__v1")
    delete(connection, "henrydevseed__mosaic__v1", moved_to="henrydevseed__mosaic")
    (outcome,) = load_jobs(ready, batch, connection, SETTINGS, START)
    assert (outcome.state, outcome.collections) == (State.LOADED, ("henrydevseed__mosaic",))
    row = connection.execute("SELECT code, collection, message FROM ledger.decision").fetchone()
    assert row is not None
    assert row[:2] == ("default_assigned", "henrydevseed__mosaic")
    assert row[2].endswith(f"{DEFAULT} was moved meanwhile, so they go to henrydevseed__mosaic.")


def test_collections_that_were_moved_in_a_circle_refuse_their_items(connection: Connection) -> None:
    delete(connection, DEFAULT, moved_to="a__b")
    delete(connection, "a__b", moved_to=DEFAULT)
    outcome = one(connection, job(0))
    assert (outcome.state, outcome.counts) == (State.REJECTED, ItemCounts(refused=1))


def test_the_template_that_a_collection_was_moved_for_gives_its_new_id(connection: Connection) -> None:
    one(connection, job(0))
    one(connection, job(1), settings=WITHOUT_TAG)
    delete(connection, DEFAULT, moved_to="henrydevseed__mosaic__v1")
    for template, minute in ((WITHOUT_TAG, 2), (SETTINGS, 3)):
        outcome = one(connection, job(minute), settings=template)
        assert (outcome.state, outcome.collections) == (State.LOADED, ("henrydevseed__mosaic__v1",))


def test_a_tombstone_of_a_collection_that_is_there_refuses_its_items_only(connection: Connection) -> None:
    """As that of one that was taken apart, which would be made again if it were not there."""
    one(connection, job(0))
    known_collections.delete(connection, DEFAULT, by="admin")
    connection.execute(
        "INSERT INTO ledger.id_move (source, target, finished_at) SELECT id, 'a__b', deleted_at FROM ledger.collection"
    )
    connection.commit()
    late, other = job(1), job(2, tag="other")
    outcomes = ingest(connection, [late, other])
    assert codes(outcomes[late.prefix]) == [(Code.COLLECTION_NOT_FOUND, DEFAULT)]
    assert outcomes[other.prefix].state is State.LOADED


def owned_by_others(conn: Connection) -> list[tuple[str, str, str, str | None]]:
    """Decisions about items of others: job, code, outcome and what was asked for."""
    rows = conn.execute(
        "SELECT job.prefix, code, outcome, requested FROM ledger.decision JOIN ledger.job ON job.id = job_id "
        "WHERE code = 'item_owned_by_other' ORDER BY decision.id"
    ).fetchall()
    conn.rollback()
    return rows


def sharing(username: str, minute: int, *ids: str) -> Written:
    return Written(
        [document(id, title=username) for id in ids],
        username=username,
        minute=minute,
        requests=dict.fromkeys(ids, "shared"),
    )


def test_that_items_are_another_users_is_in_the_audit_trail(connection: Connection) -> None:
    mine, theirs = sharing("henrydevseed", 0, "a", "b"), sharing("somebody", 1, "a", "b", "c")
    one(connection, mine, SHARED)
    outcome = one(connection, theirs, SHARED)
    assert codes(outcome) == [(Code.ITEM_OWNED_BY_OTHER, "a"), (Code.ITEM_OWNED_BY_OTHER, "b")]
    assert owned_by_others(connection) == [(theirs.prefix, "item_owned_by_other", "reject", "shared")]
    row = connection.execute("SELECT message, registry_version FROM ledger.decision ORDER BY id DESC").fetchone()
    assert row is not None
    assert row[1] == SHARED.version
    assert "2" in row[0]


def test_trying_again_adds_nothing_to_the_audit_trail(connection: Connection) -> None:
    mine, theirs = sharing("henrydevseed", 0, "a"), sharing("somebody", 1, "a", "b")
    one(connection, mine, SHARED)
    one(connection, theirs, SHARED)
    before = connection.execute("SELECT id FROM ledger.decision ORDER BY id").fetchall()
    assert len(before) == 3
    for number in range(2):
        again(connection, theirs)
        one(connection, theirs, SHARED, f"again-{number}")
        assert connection.execute("SELECT id FROM ledger.decision ORDER BY id").fetchall() == before


def test_in_one_batch_the_audit_trail_names_whose_items_came_second(connection: Connection) -> None:
    first, second = sharing("henrydevseed", 0, "a"), sharing("somebody", 1, "a")
    ingest(connection, [second, first], SHARED)
    assert owned_by_others(connection) == [(second.prefix, "item_owned_by_other", "reject", "shared")]


def test_of_users_who_write_an_item_at_once_one_owns_it(database: str, connection: Connection) -> None:
    jobs = [sharing(f"user-{number}", number, "a", f"own-{number}") for number in range(4)]
    at_once(*loads(database, connection, jobs, SHARED))
    states = dict(connection.execute("SELECT prefix, state FROM ledger.job").fetchall())
    (winner,) = [each for each in jobs if states[each.prefix] == "loaded"]
    assert [states[each.prefix] for each in jobs if each is not winner] == ["partial"] * 3
    row = connection.execute(
        "SELECT pgstac.get_item(id, collection) #>> '{properties,title}' FROM pgstac.items WHERE id = 'a'"
    ).fetchall()
    assert row == [(winner.username,)]
    assert {prefix for prefix, *_ in owned_by_others(connection)} == {each.prefix for each in jobs} - {winner.prefix}
    assert connection.execute("SELECT count(*) FROM pgstac.items").fetchone() == (5,)


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """The lines of log events about jobs and collections, read as JSON, as they come; those of batches are left out."""
    lines: list[dict[str, Any]] = []

    class Reading(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = json.loads(record.getMessage())
            if not line["event"].startswith("batch."):
                lines.append(line)

    handler, logger = Reading(), logging.getLogger(log_events.LOGGER)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_each_decision_is_told_as_a_log_event_once_it_is_committed(
    connection: Connection, events: list[dict[str, Any]]
) -> None:
    mine, theirs = sharing("henrydevseed", 0, "a"), sharing("somebody", 1, "a", "b")
    denied = Written([document("c"), document("d")], minute=2, tag=None, requests={"d": "a\0b"})
    one(connection, mine, SHARED)
    events.clear()
    outcomes = ingest(connection, [theirs, denied], SHARED, "run-7")
    assert len(outcomes) == 2
    assert [event["job"] for event in events if event["event"] == "job.ended"] == [theirs.prefix, denied.prefix]
    events = [event for event in events if event["event"] == "governance.decision"]
    assert all(event.pop("at").endswith("Z") and event.pop("level") == "info" for event in events)
    common = {"event": "governance.decision", "run_id": "run-7", "registry_version": SHARED.version}
    shared = {
        **common,
        "job": theirs.prefix,
        "username": "somebody",
        "algorithm": "mosaic",
        "version": "v1",
        "tag": "demo",
        "requested": "shared",
    }
    question = "SELECT rule FROM ledger.decision WHERE username = 'somebody' ORDER BY id"
    (granted,), (owned,) = connection.execute(question).fetchall()
    assert events[:2] == [
        {**shared, "decision": "granted", "outcome": "accept", "collection": "shared", "rule": granted},
        {**shared, "decision": "item_owned_by_other", "outcome": "reject", "collection": None, "rule": owned},
    ]
    told = [(event["decision"], event["tag"], event["requested"], event["collection"]) for event in events[2:]]
    assert told == [
        ("default_assigned", None, None, "henrydevseed__mosaic__v1"),
        ("invalid_name", None, "a\N{REPLACEMENT CHARACTER}b", "henrydevseed__mosaic__v1"),
    ]


def test_a_job_that_describes_a_collection_is_told_as_a_log_event(
    connection: Connection, events: list[dict[str, Any]]
) -> None:
    one(connection, job(0))
    events.clear()
    one(connection, job(1, own(title="Mosaics")), run_id="run-8")
    (event,) = [event for event in events if event["event"] == "collection.changed"]
    assert (event["collection"], event["by"], event["via"]) == (DEFAULT, "henrydevseed", "job")
    assert (event["action"], event["run_id"]) == ("collection_changed", "run-8")
    assert event["change"] == trail(connection)[0].id


def test_nothing_is_told_of_what_was_not_committed(connection: Connection, events: list[dict[str, Any]]) -> None:
    jobs = [job(0, own(title="Mosaics"))]
    record(connection, jobs)
    batch = claim(connection)
    ready = decided(connection, jobs, batch)
    connection.execute("UPDATE ledger.job SET batch_id = gen_random_uuid(), run_id = 'other'")
    connection.commit()
    assert load_jobs(ready, batch, connection, SETTINGS, START) == []
    assert events == []
