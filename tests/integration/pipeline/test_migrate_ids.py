"""A deployment that moves to another template of default collection ids: everything goes along, nothing is lost."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from maap_stac_orchestration.governance.default_collection import default_collection_id
from maap_stac_orchestration.governance.registry import Registry, load_registry
from maap_stac_orchestration.ledger import changes, default_ids, id_moves
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.changes import Action, Author, Via
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.log_events import LOGGER
from maap_stac_orchestration.pgstac.items import load
from maap_stac_orchestration.pipeline import migrate_ids
from maap_stac_orchestration.pipeline.load import load_jobs
from maap_stac_orchestration.pipeline.migrate_ids import (
    Migration,
    MigrationUnderWay,
    Move,
    Reason,
    migrate,
    plan_migration,
)
from maap_stac_orchestration.pipeline.upkeep import refresh_collections
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.stack.postgres import PostgresServer
from tests.conftest import _database
from tests.integration.pipeline.batches import SETTINGS, START, Written, claim, decided, document, dump, ingest, record

WITH_TAG = SETTINGS.default_collection_template
WITHOUT_TAG = "{username}__{algorithm_name}__{algorithm_version}"
WITHOUT = Settings(_env_file=None, default_collection_template=WITHOUT_TAG)  # type: ignore[call-arg]
FIRST, SECOND = "henrydevseed__mosaic__v1__first", "henrydevseed__mosaic__v1__second"
MERGED = "henrydevseed__mosaic__v1"
AUTHOR = Author("ada", Via.CLI, "MAAP no longer has the tag in its ids")


@pytest.fixture
def other_database(postgres_server: PostgresServer, migrated: str) -> Iterator[Connection]:
    """A connection to a database of its own, to compare with."""
    for url in _database(postgres_server, migrated):
        with psycopg.connect(url) as conn:
            yield conn


def jobs() -> list[Written]:
    """Three jobs of two tags, one without a tag, and one of somebody else; no item id twice."""
    return [
        Written([document("a", west=1.0), document("b", west=2.0)], tag="first"),
        Written(
            [document("c", moment="2023-01-01T00:00:00Z", title="ü", cloud=0.1, nothing=None)], tag="first", minute=1
        ),
        Written([document("d", west=-170.0), document("e")], tag="second", minute=2),
        Written([document("f")], tag=None, minute=3),
        Written([document("g")], username="jsmith", tag="first", minute=4),
    ]


def items(conn: Connection) -> dict[str, dict[str, Any]]:
    """Every item of the database by its id, without its collection."""
    found = conn.execute("SELECT id, pgstac.get_item(id, collection) - 'collection' FROM pgstac.items").fetchall()
    conn.rollback()
    assert len({id for id, _ in found}) == len(found)
    return dict(found)


def places(conn: Connection) -> dict[str, list[str]]:
    """Collection -> the ids of its items."""
    found = conn.execute(
        """
        SELECT collections.id, array_agg(items.id ORDER BY items.id) FILTER (WHERE items.id IS NOT NULL)
        FROM pgstac.collections LEFT JOIN pgstac.items ON items.collection = collections.id GROUP BY 1 ORDER BY 1
        """
    ).fetchall()
    conn.rollback()
    return {collection: ids or [] for collection, ids in found}


def tables(conn: Connection) -> dict[str, list[Any]]:
    """Everything in every table of pgstac and of the ledger."""
    names = conn.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('pgstac', 'ledger') ORDER BY 1, 2"
    ).fetchall()
    found = {
        f"{schema}.{table}": conn.execute(f'SELECT t::text FROM "{schema}"."{table}" AS t ORDER BY 1').fetchall()
        for schema, table in names
    }
    conn.rollback()
    return found


def job_places(conn: Connection) -> list[tuple[Any, ...]]:
    """Where jobs say that their items are, in all three tables that say so."""
    found = conn.execute(
        """
        SELECT job.prefix, job.collections,
            (SELECT array_agg(collection ORDER BY collection) FROM ledger.job_collection WHERE job_id = job.id),
            (
                SELECT array_agg((item_id, result, collection)::text ORDER BY item_id)
                FROM ledger.job_item WHERE job_id = job.id
            )
        FROM ledger.job ORDER BY job.prefix
        """
    ).fetchall()
    conn.rollback()
    return found


def again(conn: Connection, which: slice = slice(None)) -> list[Written]:
    """Some of the same jobs, which are due once more."""
    wanted = jobs()[which]
    conn.execute(
        "UPDATE ledger.job SET due_at = now(), state = 'discovered' WHERE prefix = ANY (%s)",
        ([one.prefix for one in wanted],),
    )
    conn.commit()
    return wanted


def refresh(conn: Connection) -> None:
    refresh_collections(conn, list(places(conn)))


def moves(found: Migration) -> dict[tuple[str, str], int]:
    return {(one.source, one.target): one.items for one in found.moves}


def reasons(found: Migration) -> list[tuple[str, Reason, int, tuple[str, ...]]]:
    return [(one.collection, one.reason, one.items, one.examples) for one in found.stays]


def test_dropping_the_tag_brings_the_items_of_all_tags_together(connection: Connection) -> None:
    ingest(connection, jobs())
    before = items(connection)
    plan = plan_migration(connection, WITHOUT_TAG)
    done = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert moves(done) == {
        (FIRST, MERGED): 3,
        (SECOND, MERGED): 2,
        ("jsmith__mosaic__v1__first", "jsmith__mosaic__v1"): 1,
    }
    assert (plan.moves, plan.stays, plan.emptied) == (done.moves, done.stays, done.emptied)
    assert (plan.applied, done.applied) == (False, True)
    assert done.stays == ()
    assert places(connection) == {MERGED: ["a", "b", "c", "d", "e", "f"], "jsmith__mosaic__v1": ["g"]}
    assert items(connection) == before


def test_a_job_that_is_ingested_again_with_the_new_template_changes_nothing(connection: Connection) -> None:
    ingest(connection, jobs())
    migrate(connection, WITHOUT_TAG, AUTHOR)
    before = tables(connection)
    outcomes = ingest(connection, again(connection), settings=WITHOUT)
    assert all(one.counts.loaded == one.counts.refused == 0 and one.counts.unchanged for one in outcomes.values())
    after = tables(connection)
    for name in ("pgstac.items", "pgstac.collections", "ledger.item", "ledger.collection", "ledger.job_collection"):
        assert after[name] == before[name], name


def test_the_end_is_that_of_jobs_that_were_ingested_with_the_new_template(
    connection: Connection, other_database: Connection
) -> None:
    ingest(connection, jobs())
    migrate(connection, WITHOUT_TAG, AUTHOR)
    ingest(other_database, jobs(), settings=WITHOUT)
    refresh(other_database)
    assert job_places(connection) == job_places(other_database)
    found, expected = dump(connection), dump(other_database)
    for name in ("items", "collections", "ledger items", "jobs"):
        assert found[name] == expected[name], name
    assert [row for row in found["ledger collections"] if row in expected["ledger collections"]] == expected[
        "ledger collections"
    ]


def test_there_and_back_again_is_where_it_began(connection: Connection) -> None:
    ingest(connection, jobs())
    refresh(connection)
    before, jobs_before = dump(connection), job_places(connection)
    migrate(connection, WITHOUT_TAG, AUTHOR)
    back = migrate(connection, WITH_TAG, AUTHOR)
    assert moves(back) == {
        (MERGED, FIRST): 3,
        (MERGED, SECOND): 2,
        ("jsmith__mosaic__v1", "jsmith__mosaic__v1__first"): 1,
    }
    after = dump(connection)
    for name in ("items", "collections", "ledger items", "jobs"):
        assert after[name] == before[name], name
    assert job_places(connection) == jobs_before
    # The one without a tag has its own item still; that of the other user has none and is gone.
    assert back.emptied == ("jsmith__mosaic__v1",)
    outcomes = ingest(connection, again(connection))
    assert {(one.counts.loaded, one.counts.refused) for one in outcomes.values()} == {(0, 0)}
    assert dump(connection)["items"] == before["items"]


def test_adding_the_tag_takes_a_collection_apart(connection: Connection) -> None:
    ingest(connection, jobs(), settings=WITHOUT)
    before = items(connection)
    done = migrate(connection, WITH_TAG, AUTHOR)
    assert done.stays == ()
    assert places(connection) == {
        MERGED: ["f"],
        FIRST: ["a", "b", "c"],
        SECOND: ["d", "e"],
        "jsmith__mosaic__v1__first": ["g"],
    }
    assert items(connection) == before
    outcomes = ingest(connection, again(connection))
    assert {(one.counts.loaded, one.counts.refused) for one in outcomes.values()} == {(0, 0)}


def test_moving_twice_is_moving_once(connection: Connection) -> None:
    ingest(connection, jobs())
    migrate(connection, WITHOUT_TAG, AUTHOR)
    before = tables(connection)
    again = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert (again.moves, again.stays, again.emptied) == ((), (), ())
    assert tables(connection) == before


def test_a_plan_writes_nothing(connection: Connection) -> None:
    ingest(connection, [*jobs(), Written([document("a")], tag="second", minute=9)])
    before = tables(connection)
    plan = plan_migration(connection, WITHOUT_TAG)
    assert plan.moves
    assert plan.stays
    assert tables(connection) == before


def test_of_items_of_one_id_the_newest_moves_and_the_others_stay(connection: Connection) -> None:
    ingest(
        connection,
        [
            Written([document("shared", title="oldest"), document("a")], tag="first"),
            Written([document("shared", title="newest"), document("b")], tag="second", minute=9),
            Written([document("shared", title="between")], tag="third", minute=5),
        ],
    )
    plan = plan_migration(connection, WITHOUT_TAG)
    done = migrate(connection, WITHOUT_TAG, AUTHOR)
    third = "henrydevseed__mosaic__v1__third"
    assert moves(done) == {(FIRST, MERGED): 1, (SECOND, MERGED): 2}
    assert (plan.moves, plan.stays, plan.emptied) == (done.moves, done.stays, done.emptied)
    assert reasons(done) == [
        (FIRST, Reason.ID_TAKEN, 1, ("shared",)),
        (third, Reason.ID_TAKEN, 1, ("shared",)),
    ]
    assert done.emptied == (SECOND,)
    assert places(connection) == {MERGED: ["a", "b", "shared"], FIRST: ["shared"], third: ["shared"]}
    titles = connection.execute("SELECT pgstac.get_item('shared', %s) #>> '{properties,title}'", (MERGED,)).fetchone()
    assert titles == ("newest",)
    kept = tables(connection)
    later = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert (later.moves, later.stays) == ((), done.stays)
    assert tables(connection) == kept


def test_what_is_in_the_new_collection_already_is_not_overwritten(connection: Connection) -> None:
    older = Written([document("a", title="older")], tag=None)
    newer = Written([document("a", title="newer")], tag="first", minute=1)
    ingest(connection, [older, newer])
    done = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert done.moves == ()
    assert reasons(done) == [(FIRST, Reason.ID_TAKEN, 1, ("a",))]
    assert places(connection) == {MERGED: ["a"], FIRST: ["a"]}


def test_an_item_that_was_ingested_under_both_ids_is_kept_once(connection: Connection) -> None:
    ingest(connection, jobs())
    before = items(connection)
    ingest(connection, again(connection, slice(2, 3)), settings=WITHOUT)
    assert places(connection)[MERGED] == ["d", "e", "f"]
    done = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert Move(SECOND, MERGED, 2, already=2) in done.moves
    assert done.stays == ()
    after = items(connection)
    for one in (*before.values(), *after.values()):
        one["properties"].pop("maap:run_id")
    assert after == before


def test_ids_that_were_told_apart_stay_apart(connection: Connection) -> None:
    same = [
        Written([document(name)], algorithm=name, tag="x", minute=number) for number, name in enumerate(("m n", "m-n"))
    ]
    ingest(connection, same)
    apart = list(places(connection))
    migrate(connection, WITHOUT_TAG, AUTHOR)
    now = places(connection)
    assert len(now) == 2
    assert list(now.values()) == [["m n"], ["m-n"]]
    owners = dict(connection.execute("SELECT id, algorithm FROM ledger.default_collection").fetchall())
    assert {owners[id] for id in now} == {"m n", "m-n"}
    assert all(ids == [owners[id]] for id, ids in now.items())
    migrate(connection, WITH_TAG, AUTHOR)
    assert list(places(connection)) == apart


def test_items_that_nobody_is_known_to_have_written_stay(connection: Connection) -> None:
    ingest(connection, jobs())
    load(connection, FIRST, [{**document("stranger"), "collection": FIRST}])
    connection.commit()
    done = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert reasons(done) == [(FIRST, Reason.NOT_WRITTEN_HERE, 1, ("stranger",))]
    assert places(connection)[FIRST] == ["stranger"]
    assert FIRST not in done.emptied


def test_items_that_a_grant_let_in_stay(connection: Connection) -> None:
    ingest(connection, jobs())
    registry = granting(FIRST, "jsmith", "henrydevseed")
    guests = [
        Written([document("x")], username="jsmith", requests={"x": FIRST}, minute=20),
        Written([document("y")], algorithm="other", requests={"y": FIRST}, minute=21),
    ]
    ingest(connection, guests, registry)
    assert places(connection)[FIRST] == ["a", "b", "c", "x", "y"]
    done = migrate(connection, WITHOUT_TAG, AUTHOR, registry)
    assert reasons(done) == [(FIRST, Reason.OTHER_NAMES, 2, ("x", "y"))]
    assert places(connection)[FIRST] == ["x", "y"]
    (note,) = done.notes
    assert FIRST in note
    assert MERGED in note


def granting(collection: str, *users: str) -> Registry:
    content = json.dumps({"version": 1, "grants": [{"collection": collection, "users": list(users)}]})
    return load_registry(content.encode(), "registry.json")


LATE = Written([document("late")], tag="first", minute=30)
LATE_OF_NEW_TAG = Written([document("later")], tag="third", minute=31)


def test_jobs_of_the_old_template_that_come_late_go_to_the_collection_that_has_the_others(
    connection: Connection,
) -> None:
    ingest(connection, jobs())
    migrate(connection, WITHOUT_TAG, AUTHOR)
    outcomes = ingest(connection, [LATE, LATE_OF_NEW_TAG])
    third = "henrydevseed__mosaic__v1__third"
    assert {one.state for one in outcomes.values()} == {State.LOADED}
    assert places(connection)[MERGED] == ["a", "b", "c", "d", "e", "f", "late"]
    assert places(connection)[third] == ["later"]
    done = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert (moves(done), done.stays, done.emptied) == ({(third, MERGED): 1}, (), (third,))


def test_jobs_of_the_old_template_that_come_after_a_collection_was_taken_apart_make_it_again(
    connection: Connection,
) -> None:
    ingest(connection, [job for job in jobs() if job.tag], settings=WITHOUT)
    migrate(connection, WITH_TAG, AUTHOR)
    assert MERGED not in places(connection)
    outcomes = ingest(connection, [LATE, LATE_OF_NEW_TAG], settings=WITHOUT)
    assert {one.state for one in outcomes.values()} == {State.LOADED}
    assert places(connection)[MERGED] == ["late", "later"]
    done = migrate(connection, WITH_TAG, AUTHOR)
    third = "henrydevseed__mosaic__v1__third"
    assert (moves(done), done.stays) == ({(MERGED, FIRST): 1, (MERGED, third): 1}, ())
    assert places(connection)[FIRST] == ["a", "b", "c", "late"]
    assert MERGED not in places(connection)


def test_a_collection_of_one_tag_is_not_where_jobs_of_other_tags_go(connection: Connection) -> None:
    ingest(connection, [jobs()[0]], settings=WITHOUT)
    migrate(connection, WITH_TAG, AUTHOR)
    ingest(connection, [LATE_OF_NEW_TAG], settings=WITHOUT)
    assert places(connection) == {FIRST: ["a", "b"], MERGED: ["later"]}


def test_an_id_that_a_person_deleted_stays_taken(connection: Connection) -> None:
    ingest(connection, jobs())
    known_collections.delete(connection, MERGED, by="somebody")
    connection.execute("DELETE FROM pgstac.collections WHERE id = %s", (MERGED,))
    connection.commit()
    plan = plan_migration(connection, WITHOUT_TAG)
    done = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert reasons(done) == [
        (FIRST, Reason.NO_COLLECTION, 3, ("a", "b", "c")),
        (SECOND, Reason.NO_COLLECTION, 2, ("d", "e")),
    ]
    assert "deleted by somebody" in done.stays[0].message
    assert plan.stays == done.stays
    assert MERGED not in places(connection)


def test_an_id_that_another_collection_has_but_for_case_stays_theirs(connection: Connection) -> None:
    ingest(connection, [job for job in jobs() if job.tag])
    connection.execute(
        "SELECT pgstac.create_collection(content || %s) FROM pgstac.collections WHERE id = %s",
        (json.dumps({"id": MERGED.upper()}), FIRST),
    )
    connection.commit()
    done = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert {one.reason for one in done.stays} == {Reason.NO_COLLECTION}
    assert MERGED.upper() in done.stays[0].message
    assert places(connection)[FIRST] == ["a", "b", "c"]


def test_nothing_is_lost_while_jobs_of_both_templates_are_ingested(database: str, connection: Connection) -> None:
    ingest(connection, jobs())
    arriving = [
        Written([document(f"{tag}-{number}"), document(f"{tag}-both", number=number)], tag=tag, minute=10 + number)
        for number in range(6)
        for tag in ("first", "second", "third")
    ]
    failures: list[BaseException] = []

    def ingest_some(settings: Settings, which: slice) -> None:
        try:
            with psycopg.connect(database) as conn:
                for job in arriving[which]:
                    record(conn, [job])
                    batch = claim(conn, settings=settings)
                    load_jobs(decided(conn, arriving, batch, settings=settings), batch, conn, settings, START)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [
        threading.Thread(target=ingest_some, args=(settings, which))
        for settings, which in ((SETTINGS, slice(0, None, 2)), (WITHOUT, slice(1, None, 2)))
    ]
    for thread in threads:
        thread.start()
    moved = 0
    while any(thread.is_alive() for thread in threads):
        moved += sum(one.items for one in migrate(connection, WITHOUT_TAG, AUTHOR).moves)
    assert not failures
    migrate(connection, WITHOUT_TAG, AUTHOR)
    assert moved >= 6
    found = connection.execute(
        "SELECT id, collection, pgstac.get_item(id, collection) #>> '{properties,number}' FROM pgstac.items"
    ).fetchall()
    # What two jobs wrote may be in two collections, the newest in one of them; everything else is where it belongs.
    both = [(id, number) for id, _, number in found if id.endswith("-both")]
    assert {id: max(number for other, number in both if other == id) for id, _ in both} == dict.fromkeys(
        ("first-both", "second-both", "third-both"), "5"
    )
    once = sorted((id, collection) for id, collection, _ in found if not id.endswith("-both"))
    expected = [item["id"] for job in [*jobs(), *arriving] for item in job.items if not item["id"].endswith("-both")]
    assert once == sorted((id, "jsmith__mosaic__v1" if id == "g" else MERGED) for id in expected)
    known = connection.execute("SELECT collection, id FROM ledger.item ORDER BY 1, 2").fetchall()
    assert known == connection.execute("SELECT collection, id FROM pgstac.items ORDER BY 1, 2").fetchall()


def test_what_a_person_wrote_about_a_collection_stands_in_the_new_one(connection: Connection) -> None:
    ingest(connection, jobs())
    connection.execute(
        "UPDATE pgstac.collections SET content = content || %s WHERE id = %s",
        (json.dumps({"title": "Floods of 2024", "license": "CC-BY-4.0", "sci:doi": "10.1/x"}), FIRST),
    )
    connection.execute(
        "UPDATE pgstac.collections SET content = content || %s WHERE id = %s",
        (json.dumps({"title": "Others", "summaries": {"gsd": [30]}}), SECOND),
    )
    connection.commit()
    migrate(connection, WITHOUT_TAG, AUTHOR)
    merged = collection_document(connection, MERGED)
    assert merged["title"] == "Floods of 2024"
    assert (merged["license"], merged["sci:doi"], merged["summaries"]) == ("CC-BY-4.0", "10.1/x", {"gsd": [30]})
    # What was ours holds for the new one: no word of a tag.
    assert "first" not in merged["description"]
    assert not {"first", "second"} & set(merged["keywords"])
    assert "maap:tag" not in merged
    # The words that found no place are in the trail.
    (change,) = changes.history(connection, subject=SECOND)
    assert change.detail["document"]["title"] == "Others"
    migrate(connection, WITH_TAG, AUTHOR)
    assert collection_document(connection, SECOND)["title"] == "Floods of 2024"
    assert collection_document(connection, SECOND)["maap:tag"] == "second"


def test_what_a_collection_can_be_searched_by_goes_along(connection: Connection) -> None:
    ingest(connection, jobs())
    connection.execute("SET search_path = pgstac, public")
    for name, collections in (("cloud", [FIRST]), ("both", [FIRST, SECOND]), ("own", [MERGED])):
        connection.execute(
            "INSERT INTO pgstac.queryables (name, definition, collection_ids) VALUES (%s, '{}', %s)",
            (name, collections),
        )
    connection.commit()
    migrate(connection, WITHOUT_TAG, AUTHOR)
    found = connection.execute("SELECT name, collection_ids FROM pgstac.queryables WHERE collection_ids IS NOT NULL")
    assert sorted(found.fetchall()) == [("both", [MERGED]), ("cloud", [MERGED]), ("own", [MERGED])]


def test_the_words_of_a_job_stand_in_the_new_collection_and_a_later_job_may_change_them(
    connection: Connection,
) -> None:
    def described(title: str, minute: int) -> Written:
        own = {
            "type": "Collection",
            "stac_version": "1.1.0",
            "id": "floods",
            "title": title,
            "description": "From the job.",
            "license": "CC0-1.0",
            "extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}},
            "links": [],
        }
        return Written([document("a", minute=minute)], tag="first", minute=minute, collections=(own,))

    ingest(connection, [described("One", 0)])
    assert collection_document(connection, FIRST)["title"] == "One"
    migrate(connection, WITHOUT_TAG, AUTHOR)
    merged = collection_document(connection, MERGED)
    assert (merged["title"], merged["license"]) == ("One", "CC0-1.0")
    assert "first" not in merged["keywords"]
    ingest(connection, [described("Two", 5)], settings=WITHOUT)
    assert collection_document(connection, MERGED)["title"] == "Two"


def test_each_collection_that_was_left_is_in_the_trail_and_in_the_log(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    ingest(connection, [*jobs(), Written([document("a", title="newer")], tag="second", minute=9)])
    with caplog.at_level(logging.INFO, LOGGER):
        migrate(connection, WITHOUT_TAG, AUTHOR)
    trail = {one.subject: one for one in changes.history(connection)}
    assert set(trail) == {FIRST, SECOND, "jsmith__mosaic__v1__first"}
    first = trail[FIRST]
    assert (first.action, first.by, first.via, first.reason) == (Action.ITEMS_MOVED, "ada", Via.CLI, AUTHOR.reason)
    assert {name: value for name, value in first.detail.items() if name != "document"} == {
        "template": WITHOUT_TAG,
        "moved_to": {MERGED: 2},
        "items": 2,
        "stayed": 1,
        "deleted": False,
    }
    lines = [json.loads(one.message) for one in caplog.records if one.name == LOGGER]
    told = {line["collection"]: line for line in lines if line["event"] == "collection.items_moved"}
    assert told.keys() == trail.keys()
    assert (told[FIRST]["change"], told[FIRST]["moved_to"], told[FIRST]["items"]) == (first.id, MERGED, 2)
    stones = connection.execute("SELECT id, deleted_by, moved_to FROM ledger.collection WHERE deleted_at IS NOT NULL")
    assert stones.fetchall() == [
        (SECOND, "ada", MERGED),
        ("jsmith__mosaic__v1__first", "ada", "jsmith__mosaic__v1"),
    ]


def test_extents_are_true_afterwards(connection: Connection) -> None:
    ingest(connection, jobs())
    migrate(connection, WITHOUT_TAG, AUTHOR)
    extent = collection_document(connection, MERGED)["extent"]
    assert extent["spatial"]["bbox"] == [[-170.0, 0, 3.0, 1]]
    assert extent["temporal"]["interval"] == [["2023-01-01T00:00:00Z", "2024-06-01T00:00:00Z"]]


def test_extents_that_a_process_which_died_left_behind_are_made_true(connection: Connection) -> None:
    ingest(connection, jobs())
    migrate(connection, WITHOUT_TAG, AUTHOR)
    extent = collection_document(connection, MERGED)["extent"]
    connection.execute("UPDATE ledger.collection SET refreshed_at = NULL WHERE id = %s", (MERGED,))
    stale = {"extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}}
    connection.execute(
        "UPDATE pgstac.collections SET content = content || %s WHERE id = %s", (json.dumps(stale), MERGED)
    )
    connection.commit()
    migrate(connection, WITHOUT_TAG, AUTHOR)
    assert collection_document(connection, MERGED)["extent"] == extent


def test_who_was_given_a_collection_has_the_new_one_too(connection: Connection) -> None:
    ingest(connection, [job for job in jobs() if job.tag])
    known_collections.transfer(connection, FIRST, "jsmith")
    connection.commit()
    migrate(connection, WITHOUT_TAG, AUTHOR)
    assert known_collections.owner_of(connection, MERGED) == "jsmith"


def test_two_migrations_at_once_are_one(database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(database) as other:
        assert id_moves.alone(other, 0.1)
        monkeypatch.setattr(migrate_ids, "PATIENCE", 0.1)
        with pytest.raises(MigrationUnderWay, match="Another process"):
            migrate(connection, WITHOUT_TAG, AUTHOR)
    monkeypatch.undo()
    assert migrate(connection, WITHOUT_TAG, AUTHOR).moves == ()
    with psycopg.connect(database) as other:
        assert id_moves.alone(other, 0.1)


def collection_document(conn: Connection, collection: str) -> dict[str, Any]:
    row = conn.execute("SELECT content FROM pgstac.collections WHERE id = %s", (collection,)).fetchone()
    conn.rollback()
    assert row is not None
    found: dict[str, Any] = row[0]
    return found


def test_an_item_is_word_for_word_the_same_whatever_its_collection_says_of_items(connection: Connection) -> None:
    assets = {"data": {"type": "image/tiff", "title": "Depth"}}
    full = {**document("full"), "assets": {"data": {"href": "s3://b/full.tif", **assets["data"]}}}
    flat = document("flat", datetime=None, start_datetime="2024-01-01T00:00:00Z", end_datetime="2024-03-01T00:00:00Z")
    high = {
        **document("high", empty={}, nothing=None, number=1e-7, big=2**53, text="\u00fc\u2028"),
        "geometry": {"type": "Point", "coordinates": [0.1, 0.2, 3000.123456789]},
        "bbox": [0.1, 0.2, 3000.123456789, 0.1, 0.2, 3000.123456789],
    }
    ingest(connection, [Written([full, flat, high], tag="first")])
    # From now on pgstac leaves out of items what the collection says of all of them, in two generations.
    for title in ("Depth", "Height"):
        assets["data"]["title"] = title
        connection.execute(
            "UPDATE pgstac.collections SET content = content || %s WHERE id = %s",
            (json.dumps({"item_assets": assets}), FIRST),
        )
        connection.commit()
        named = {**full, "id": title, "assets": {"data": {"href": f"s3://b/{title}.tif", **assets["data"]}}}
        ingest(connection, [Written([named], tag="first", minute=len(title))])
    before = items(connection)
    assert len(before) == 5
    migrate(connection, WITHOUT_TAG, AUTHOR)
    assert places(connection) == {MERGED: sorted(before)}
    assert items(connection) == before
    migrate(connection, WITH_TAG, AUTHOR)
    assert items(connection) == before


def test_a_collection_of_which_the_ledger_knows_no_item_is_told(connection: Connection) -> None:
    ingest(connection, jobs())
    connection.execute("DELETE FROM ledger.item WHERE collection = %s", (SECOND,))
    connection.commit()
    done = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert reasons(done) == [(SECOND, Reason.NOT_WRITTEN_HERE, 2, ("d", "e"))]
    assert places(connection)[SECOND] == ["d", "e"]
    # A collection that has no item is nobody's loss, and left alone.
    connection.execute("DELETE FROM pgstac.items WHERE collection = %s", (SECOND,))
    connection.commit()
    later = migrate(connection, WITHOUT_TAG, AUTHOR)
    assert (later.moves, later.stays, later.emptied) == ((), (), ())


TEMPLATES = (WITH_TAG, WITHOUT_TAG, "{username}__{algorithm_name}", "{username}__{algorithm_name}__{tag}")


@pytest.mark.parametrize("seed", range(6))
def test_through_any_templates_every_item_is_kept_once_and_where_it_belongs(connection: Connection, seed: int) -> None:
    chance = random.Random(seed)
    written = [
        Written(
            [document(f"i{number}", of=minute) for number in chance.sample(range(12), chance.randint(1, 4))],
            username=chance.choice(["ana", "bob"]),
            algorithm=chance.choice(["m n", "m-n"]),
            version=chance.choice(["v1", "v2"]),
            tag=chance.choice([None, "x", "y z", "y-z"]),
            minute=minute,
        )
        for minute in range(10)
    ]
    begin, *path = chance.sample(TEMPLATES, 3)
    started = Settings(_env_file=None, default_collection_template=begin)  # type: ignore[call-arg]
    ingest(connection, written, settings=started)
    names = {job.prefix: (job.username, job.algorithm, job.version, job.tag) for job in written}
    before = bag(connection)
    for template in path:
        done = migrate(connection, template, AUTHOR)
        assert bag(connection) == before
        staying = {(one.collection, id) for one in done.stays for id in one.examples}
        found = connection.execute(
            "SELECT id, collection, pgstac.get_item(id, collection) FROM pgstac.items"
        ).fetchall()
        for id, collection, item in found:
            prefix = item["properties"]["maap:job_prefix"]
            owned = default_ids.own(connection, names[prefix], default_collection_id(names[prefix], template))
            assert (owned == collection) != ((collection, id) in staying)
        connection.rollback()
        again = migrate(connection, template, AUTHOR)
        assert (again.moves, again.emptied, again.stays) == ((), (), done.stays)
    known = connection.execute("SELECT collection, id FROM ledger.item ORDER BY 1, 2").fetchall()
    assert known == connection.execute("SELECT collection, id FROM pgstac.items ORDER BY 1, 2").fetchall()
    gone = "SELECT DISTINCT unnest(collections) FROM ledger.job EXCEPT SELECT id FROM pgstac.collections"
    assert connection.execute(gone).fetchall() == []


def bag(conn: Connection) -> list[str]:
    """Every item without its collection, as often as it is there."""
    found = conn.execute("SELECT (pgstac.get_item(id, collection) - 'collection')::text FROM pgstac.items ORDER BY 1")
    whole = [text for (text,) in found]
    conn.rollback()
    return whole
