"""Collections that people make and change, in a real database."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pystac
import pytest
from psycopg import sql

from maap_stac_orchestration import log_events
from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.governance.decision import DecisionCode
from maap_stac_orchestration.ledger import changes
from maap_stac_orchestration.ledger import collections as known_collections
from maap_stac_orchestration.ledger.changes import Action, Author, Via
from maap_stac_orchestration.pgstac.collections import read_document, refresh_collection
from maap_stac_orchestration.pgstac.items import load, lock_writers
from maap_stac_orchestration.pipeline import administer, curate
from maap_stac_orchestration.pipeline.curate import (
    CollectionBusy,
    Curated,
    CurationError,
    DocumentRefused,
    DocumentTooLarge,
    IdTaken,
    NoSuchCollection,
    NotAllowed,
    StateConflict,
    create_collection,
    delete_collection,
    patch_collection,
    replace_collection,
    transfer_collection,
)
from maap_stac_orchestration.pipeline.registry import registry_in_force
from tests.integration.pgstac.stac import item
from tests.integration.pipeline.batches import SETTINGS, Written, document, ingest

Connection = psycopg.Connection[Any]

ANA, BEN, ROOT = Person("ana", admin=False), Person("ben", admin=False), Person("root", admin=True)
WHY = "for the campaign"


def by(person: Person) -> Author:
    return Author(person.username, Via.API, WHY)


def collection(id: str = "ana--floods", **changes: Any) -> dict[str, Any]:
    """A valid collection as a person sends it; `changes` replace members, None takes one out."""
    written: dict[str, Any] = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": id,
        "title": "Floods",
        "description": "Flooded areas",
        "license": "CC-BY-4.0",
        "extent": {
            "spatial": {"bbox": [[-10, 40, 5, 50]]},
            "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]},
        },
        "links": [],
    } | changes
    return {field: value for field, value in written.items() if value is not None}


@pytest.fixture
def conn(connection: Connection) -> Connection:
    """A database in which everyone may create collections in their own namespace."""
    own = {"collection": "{username}--*", "users": ["{username}"], "create": True}
    administer.grant(connection, SETTINGS, "grants", own, Author("root", Via.CLI, "self-service"))
    return connection


def made(conn: Connection, person: Person = ANA, **given: Any) -> Curated:
    return create_collection(conn, SETTINGS, person, collection(**given), by(person))


def put(conn: Connection, person: Person = ANA, id: str = "ana--floods", **given: Any) -> Curated:
    return replace_collection(conn, SETTINGS, person, id, collection(**({"id": id} | given)), by(person))


def patched(conn: Connection, patch: Any, person: Person = ANA, id: str = "ana--floods") -> Curated:
    return patch_collection(conn, SETTINGS, person, id, patch, by(person))


def deleted(conn: Connection, person: Person = ANA, id: str = "ana--floods") -> Curated:
    return delete_collection(conn, SETTINGS, person, id, by(person))


def stored(conn: Connection, id: str = "ana--floods") -> dict[str, Any]:
    found = read_document(conn, id)
    assert found is not None
    return found


def described(conn: Connection, id: str = "ana--floods") -> dict[str, Any]:
    row = conn.execute("SELECT described FROM ledger.collection WHERE id = %s", (id,)).fetchone()
    assert row is not None
    return dict(row[0])


def loaded(conn: Connection, username: str, *ids: str, collection: str = "ana--floods") -> None:
    """Items of a user's job in a collection, by the whole way."""
    job = Written([document(id) for id in ids], username=username, requests=dict.fromkeys(ids, collection))
    registry = registry_in_force(SETTINGS, conn).registry
    outcome = ingest(conn, [job], registry)
    conn.commit()
    assert outcome[job.prefix].collections == (collection,)


# Creating


def test_a_created_collection_is_valid_and_belongs_to_who_made_it(conn: Connection) -> None:
    made(conn)
    found = stored(conn)
    pystac.Collection.from_dict(found).validate()
    assert found["maap:username"] == "ana"
    assert found["created"] == found["updated"]
    assert known_collections.owner_of(conn, "ana--floods") == "ana"
    assert described(conn) == {}


def test_a_collection_of_stac_1_0_is_written_as_1_1(conn: Connection) -> None:
    made(conn, stac_version="1.0.0")
    assert stored(conn)["stac_version"] == "1.1.0"


def test_fields_that_nobody_but_the_system_says_cannot_be_forged(conn: Connection) -> None:
    made(conn, created="1999-01-01T00:00:00Z", **{"maap:username": "ben", "maap:algorithm": "secret"})
    found = stored(conn)
    assert (found["maap:username"], "maap:algorithm" in found) == ("ana", False)
    assert found["created"] > "2000"
    patched(conn, {"maap:username": "ben", "created": None, "updated": "1999-01-01T00:00:00Z"})
    assert stored(conn)["maap:username"] == "ana"
    assert stored(conn)["created"] == found["created"]
    put(conn, **{"maap:username": "ben"})
    assert stored(conn)["maap:username"] == "ana"
    assert stored(conn)["created"] == found["created"]
    assert stored(conn)["updated"] > found["updated"]


def test_links_of_the_api_are_not_kept_and_those_of_the_author_are(conn: Connection) -> None:
    ours = [{"rel": rel, "href": "http://api.test/"} for rel in ("self", "root", "parent", "items", "child", "item")]
    theirs = {"rel": "license", "href": "https://example.org/license"}
    made(conn, links=[*ours, theirs])
    assert stored(conn)["links"] == [theirs]


def test_the_registry_fills_what_is_left_out_and_nothing_else(conn: Connection) -> None:
    template = {"description": "By the registry", "license": "CC0-1.0", "keywords": ["flood"], "title": "Registry's"}
    grant = {"collection": "floods-*", "users": ["ana"], "create": True, "template": template}
    administer.grant(conn, SETTINGS, "grants", grant, by(ROOT))
    made(conn, id="floods-ana", description=None, license=None)
    found = stored(conn, "floods-ana")
    assert (found["title"], found["description"], found["license"]) == ("Floods", "By the registry", "CC0-1.0")
    assert found["keywords"] == ["flood"]


@pytest.mark.parametrize(
    ("id", "code"),
    [
        ("ben--floods", DecisionCode.USER_NOT_AUTHORIZED),
        ("floods", DecisionCode.USER_NOT_AUTHORIZED),
        ("Floods!", DecisionCode.INVALID_NAME),
        ("search", DecisionCode.RESERVED_NAME),
        ("ana--x__y", DecisionCode.RESERVED_PATTERN),
    ],
)
def test_who_may_not_create_an_id_is_told_by_which_rule(conn: Connection, id: str, code: DecisionCode) -> None:
    with pytest.raises(NotAllowed) as refused:
        made(conn, id=id)
    assert refused.value.code is code
    assert id in str(refused.value)
    assert changes.history(conn, subject=id) == []


def test_a_grant_without_create_does_not_let_anybody_create(conn: Connection) -> None:
    administer.grant(conn, SETTINGS, "grants", {"collection": "floods-*", "users": ["ana"]}, by(ROOT))
    with pytest.raises(NotAllowed) as refused:
        made(conn, id="floods-ana")
    assert refused.value.code is DecisionCode.COLLECTION_NOT_FOUND


def test_a_grant_for_an_algorithm_does_not_cover_what_people_do_by_hand(conn: Connection) -> None:
    grant = {"collection": "floods-*", "users": ["ana"], "create": True, "algorithms": ["flood@v1"]}
    administer.grant(conn, SETTINGS, "grants", grant, by(ROOT))
    with pytest.raises(NotAllowed) as refused:
        made(conn, id="floods-ana")
    assert refused.value.code is DecisionCode.ALGORITHM_NOT_APPROVED


def test_an_administrator_needs_no_grant_and_may_use_any_safe_id(conn: Connection) -> None:
    made(conn, ROOT, id="icesat2-boreal-v3.0-agb")
    assert known_collections.owner_of(conn, "icesat2-boreal-v3.0-agb") == "root"
    for id, code in (("a/b", "invalid_name"), ("jobs", "reserved_name"), ("a__b", "reserved_pattern")):
        with pytest.raises(NotAllowed) as refused:
            made(conn, ROOT, id=id)
        assert refused.value.code == code


@pytest.mark.parametrize("again", ["ana--floods", "ANA--floods", "ana--Floods"])
@pytest.mark.parametrize("person", [ANA, ROOT])
def test_an_id_that_there_is_is_taken_in_any_case(conn: Connection, again: str, person: Person) -> None:
    made(conn)
    with pytest.raises(IdTaken):
        made(conn, person, id=again)


def test_of_two_who_create_one_id_at_once_one_does(conn: Connection, database: str) -> None:
    assert sorted(at_once(database, "ana--floods", "ana--floods")) == ["IdTaken", "made"]
    assert len(changes.history(conn, subject="ana--floods")) == 1


def test_of_two_who_create_ids_that_differ_in_case_at_once_one_does(conn: Connection, database: str) -> None:
    assert sorted(at_once(database, "Some-Floods", "some-floods", person=ROOT)) == ["IdTaken", "made"]


def at_once(database: str, *ids: str, person: Person = ANA) -> list[str]:
    start = threading.Barrier(len(ids))

    def create(id: str) -> str:
        with psycopg.connect(database) as own:
            start.wait(10)
            try:
                made(own, person, id=id)
            except CurationError as error:
                return type(error).__name__
            return "made"

    with ThreadPoolExecutor(len(ids)) as pool:
        return list(pool.map(create, ids))


# What is refused


def refuse(conn: Connection, why: str, **given: Any) -> None:
    """Neither creating nor changing takes it, and nothing is left behind."""
    with pytest.raises(DocumentRefused, match=why):
        made(conn, **({"id": "ana--other"} | given))
    assert read_document(conn, "ana--other") is None
    assert known_collections.owner_of(conn, "ana--other") is None
    if read_document(conn, "ana--floods") is None:
        made(conn)
    before = stored(conn)
    with pytest.raises(DocumentRefused, match=why):
        put(conn, **given)
    assert stored(conn) == before


def extent(bbox: Any = (-10, 40, 5, 50), interval: Any = ("2024-01-01T00:00:00Z", None)) -> dict[str, Any]:
    return {"spatial": {"bbox": [list(bbox)]}, "temporal": {"interval": [list(interval)]}}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"type": "Catalog"}, "not a STAC Collection"),
        ({"stac_version": "0.9.0", "type": "Collection"}, "stac_version"),
        ({"description": None}, "description"),
        ({"license": 4}, "license"),
        ({"extent": extent(bbox=(-400, 0, 10, 10))}, "leaves the world"),
        ({"extent": extent(bbox=(0, 10, 10, 0))}, "south above its north"),
        ({"extent": extent(bbox=("a", 0, 10, 10))}, "number"),
        ({"extent": extent(interval=("9999-12-31T23:59:59Z", None))}, "years 1 to 9998"),
        ({"extent": extent(interval=("2024-02-30T00:00:00Z", None))}, "calendar"),
        ({"extent": extent(interval=("2024", None))}, "RFC 3339"),
        ({"extent": extent(interval=("2024-02-01T00:00:00Z", "2024-01-01T00:00:00Z"))}, "before the start"),
        ({"extent": {"spatial": {"bbox": []}, "temporal": {"interval": [[None, None]]}}}, "at least one"),
        ({"title": "a\0b"}, "NUL"),
        ({"title": "\ud800"}, "half a character"),
        ({"summaries": {"x": {"minimum": json.loads("[" * 300 + "]" * 300)}}}, "nested deeper"),
        ({"links": [{"rel": "about", "href": "javascript:alert(1)"}]}, "link number 1"),
        ({"links": [{"rel": "about", "href": "file:///etc/passwd"}]}, "link number 1"),
        ({"assets": {"thumbnail": {"href": "http://169.254.169.254/latest"}}}, "private address"),
        ({"assets": {"thumbnail": {"href": "/etc/passwd"}}}, "others can follow"),
        ({"description": "word " * 30_000}, "bytes together"),
    ],
)
def test_what_would_break_or_poison_the_database_is_refused(conn: Connection, given: dict[str, Any], why: str) -> None:
    refuse(conn, why, **given)


def test_a_document_that_is_too_large_is_refused(conn: Connection) -> None:
    small = SETTINGS.model_copy(update={"max_document_bytes": 2_000})
    with pytest.raises(DocumentTooLarge, match="2,000"):
        create_collection(conn, small, ANA, collection(summaries={"x": ["y" * 3_000]}), by(ANA))
    create_collection(conn, small, ANA, collection(), by(ANA))
    bomb = [{"op": "add", "path": "/summaries", "value": {"a": ["x"] * 10}}]
    bomb += [{"op": "copy", "from": "/summaries", "path": f"/summaries/{number}"} for number in range(40)]
    with pytest.raises(DocumentTooLarge):
        patch_collection(conn, small, ANA, "ana--floods", bomb, by(ANA))


def test_a_box_with_heights_is_found_where_it_is(conn: Connection) -> None:
    made(conn, extent=extent(bbox=(-10, 40, -500, 5, 50, 9000)))
    assert found_in(conn, [-9, 41, -8, 42]) == ["ana--floods"]
    assert found_in(conn, [-9, -41, -8, -40]) == []
    pystac.Collection.from_dict(stored(conn)).validate()


def test_a_box_across_the_antimeridian_is_found_on_both_sides(conn: Connection) -> None:
    made(conn, extent=extent(bbox=(170, -20, -170, 20)))
    assert found_in(conn, [174, 0, 175, 1]) == ["ana--floods"]
    assert found_in(conn, [-175, 0, -174, 1]) == ["ana--floods"]
    assert stored(conn)["extent"]["spatial"]["bbox"][1:] == [[170, -20, 180, 20], [-180, -20, -170, 20]]


def found_in(conn: Connection, bbox: list[float]) -> list[str]:
    row = conn.execute("SELECT pgstac.collection_search(%s::jsonb)", (json.dumps({"bbox": bbox}),)).fetchone()
    assert row is not None
    return [one["id"] for one in row[0]["collections"]]


# Changing


def test_only_the_owner_and_administrators_change_a_collection(conn: Connection) -> None:
    made(conn)
    for change in (
        lambda: put(conn, BEN),
        lambda: patched(conn, {"title": "Mine"}, BEN),
        lambda: deleted(conn, BEN),
    ):
        with pytest.raises(NotAllowed) as refused:
            change()
        assert refused.value.code is DecisionCode.USER_NOT_AUTHORIZED
    assert stored(conn)["title"] == "Floods"
    put(conn, ROOT, title="By an administrator")
    assert stored(conn)["title"] == "By an administrator"
    assert known_collections.owner_of(conn, "ana--floods") == "ana"


def test_an_owner_who_is_denied_changes_nothing(conn: Connection) -> None:
    made(conn)
    administer.grant(conn, SETTINGS, "deny", {"collection": "ana--*", "users": ["ana"]}, by(ROOT))
    with pytest.raises(NotAllowed):
        patched(conn, {"title": "Mine"})


@pytest.mark.parametrize("change", [{"id": "ana--other"}, [{"op": "replace", "path": "/id", "value": "ana--other"}]])
def test_ids_stay(conn: Connection, change: Any) -> None:
    made(conn)
    with pytest.raises(DocumentRefused, match="ids stay"):
        patched(conn, change)
    with pytest.raises(DocumentRefused, match="ids stay"):
        replace_collection(conn, SETTINGS, ANA, "ana--floods", collection(id="ana--other"), by(ANA))
    assert stored(conn)["id"] == "ana--floods"


def test_what_is_not_there_cannot_be_changed(conn: Connection) -> None:
    for change in (lambda: put(conn), lambda: patched(conn, {}), lambda: deleted(conn), lambda: deleted(conn, ROOT)):
        with pytest.raises(NoSuchCollection, match="There is no collection ana--floods"):
            change()


def test_a_merge_patch_replaces_and_removes(conn: Connection) -> None:
    made(conn, keywords=["a", "b"], summaries={"gsd": [10], "platform": ["x"]})
    patched(conn, {"title": None, "keywords": ["c"], "summaries": {"gsd": None, "new": [1]}})
    found = stored(conn)
    assert ("title" in found, found["keywords"]) == (False, ["c"])
    assert found["summaries"] == {"platform": ["x"], "new": [1]}


def test_a_json_patch_is_applied_whole_or_not_at_all(conn: Connection) -> None:
    made(conn)
    about = {"rel": "about", "href": "https://example.org"}
    patched(
        conn,
        [
            {"op": "test", "path": "/title", "value": "Floods"},
            {"op": "replace", "path": "/title", "value": "Floods of 2024"},
            {"op": "add", "path": "/links/-", "value": about},
        ],
    )
    assert (stored(conn)["title"], stored(conn)["links"]) == ("Floods of 2024", [about])
    before = stored(conn)
    with pytest.raises(StateConflict, match="Operation 2"):
        patched(
            conn,
            [
                {"op": "replace", "path": "/title", "value": "No"},
                {"op": "test", "path": "/license", "value": "other"},
            ],
        )
    assert stored(conn) == before


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "remove", "path": "/links/0"}],
        [{"op": "explode", "path": "/title"}],
        [{"path": "/title"}],
        [{"op": "add", "path": 4}],
        [{"op": "add", "path": "title", "value": 1}],
        [{"op": "add", "path": "/title"}],
        ["add"],
        [{"op": "replace", "path": "", "value": 4}],
        [{"op": "remove", "path": "/description"}],
    ],
)
def test_a_patch_that_is_none_or_leaves_no_collection_is_refused(conn: Connection, operations: list[Any]) -> None:
    made(conn)
    with pytest.raises((DocumentRefused, StateConflict)):
        patched(conn, operations)
    assert stored(conn)["title"] == "Floods"


def test_the_extent_of_a_collection_with_items_is_theirs(conn: Connection) -> None:
    made(conn)
    loaded(conn, "ana", "one")
    refresh_collection(conn, "ana--floods")
    conn.commit()
    before = stored(conn)["extent"]
    put(conn, extent=extent(bbox=(100, 0, 110, 1)))
    assert stored(conn)["extent"] == before


def test_what_a_person_wrote_no_longer_counts_as_written_by_a_job(conn: Connection) -> None:
    made(conn)
    known_collections.describe(
        conn, "ana--floods", {"title": "Floods", "description": "Flooded areas", "license": "CC-BY-4.0"}, None
    )
    conn.commit()
    patched(conn, {"title": "Floods of 2024"})
    assert described(conn) == {"description": "Flooded areas", "license": "CC-BY-4.0"}
    patched(conn, [{"op": "add", "path": "/description", "value": "Flooded areas"}])
    assert described(conn) == {"license": "CC-BY-4.0"}
    put(conn)
    assert described(conn) == {}


def test_no_job_puts_back_what_a_person_took_out(conn: Connection) -> None:
    own = collection(description="By the job", title="By the job", summaries={"gsd": [30]})
    made(conn, title="Mine", summaries={"gsd": [10]})
    patched(conn, {"title": None})
    job = Written([document("one")], username="ana", requests={"one": "ana--floods"}, collections=(own,), minute=1)
    ingest(conn, [job], registry_in_force(SETTINGS, conn).registry)
    conn.commit()
    found = stored(conn)
    assert "title" not in found
    assert (found["description"], found["summaries"]) == ("Flooded areas", {"gsd": [10]})


# Deleting


def test_an_owner_deletes_a_collection_with_items_of_their_own(conn: Connection) -> None:
    made(conn)
    loaded(conn, "ana", "one", "two")
    key = conn.execute("SELECT key FROM pgstac.collections WHERE id = 'ana--floods'").fetchone()
    assert key is not None
    conn.execute(
        "INSERT INTO pgstac.format_item_cache (id, collection, fields, hydrated) "
        "VALUES ('one', 'ana--floods', '', true)"
    )
    conn.commit()
    deleted(conn)
    assert read_document(conn, "ana--floods") is None
    for table in ("pgstac.items", "pgstac.format_item_cache", "pgstac.partition_stats", "ledger.item"):
        left = conn.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE collection = 'ana--floods'").format(
                sql.Identifier(*table.split("."))
            )
        ).fetchone()
        assert left == (0,), table
    assert conn.execute("SELECT count(*) FROM ledger.job_collection").fetchone() == (0,)
    assert conn.execute("SELECT to_regclass(%s)", (f"pgstac._items_{key[0]}",)).fetchone() == (None,)


def test_items_of_others_are_not_deleted_by_the_owner_but_by_an_administrator(conn: Connection) -> None:
    grant = {"collection": "ana--floods", "users": ["ben"]}
    administer.grant(conn, SETTINGS, "grants", grant, by(ROOT))
    made(conn)
    loaded(conn, "ana", "one")
    loaded(conn, "ben", "two")
    with pytest.raises(StateConflict, match=r"1 of jobs of other users \(ben\)"):
        deleted(conn)
    assert read_document(conn, "ana--floods") is not None
    deleted(conn, ROOT)
    assert read_document(conn, "ana--floods") is None


def test_items_that_no_job_wrote_are_not_deleted_by_the_owner(conn: Connection) -> None:
    made(conn)
    lock_writers(conn, ["ana--floods"])
    load(conn, "ana--floods", [item("one", "ana--floods")])
    conn.commit()
    with pytest.raises(StateConflict, match="1 that no job wrote"):
        deleted(conn)


@pytest.mark.parametrize("person", [ANA, ROOT])
@pytest.mark.parametrize("again", ["ana--floods", "Ana--Floods"])
def test_the_id_of_a_deleted_collection_stays_taken(conn: Connection, person: Person, again: str) -> None:
    made(conn)
    deleted(conn)
    with pytest.raises(IdTaken, match="deleted"):
        made(conn, person, id=again)
    with pytest.raises(NoSuchCollection, match="deleted by ana"):
        patched(conn, {"title": "Back"})


def test_a_job_does_not_bring_a_deleted_collection_back(conn: Connection) -> None:
    made(conn)
    deleted(conn)
    job = Written([document("one")], username="ana", requests={"one": "ana--floods"})
    outcome = ingest(conn, [job], registry_in_force(SETTINGS, conn).registry)
    conn.commit()
    assert read_document(conn, "ana--floods") is None
    assert "ana--floods" not in outcome[job.prefix].collections


def test_collections_are_deleted_at_once_without_standing_in_each_others_way(conn: Connection, database: str) -> None:
    ids = [f"ana--{number}" for number in range(4)]
    for id in ids:
        made(conn, id=id)
        loaded(conn, "ana", f"one-{id}", collection=id)
    start = threading.Barrier(len(ids))

    def delete(id: str) -> str:
        with psycopg.connect(database) as own:
            start.wait(10)
            return deleted(own, id=id).collection

    with ThreadPoolExecutor(len(ids)) as pool:
        assert list(pool.map(delete, ids)) == ids
    row = conn.execute("SELECT (SELECT count(*) FROM pgstac.items), (SELECT count(*) FROM ledger.item)").fetchone()
    assert row == (0, 0)
    row = conn.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row == (0,)


def test_a_deletion_gives_up_while_jobs_write_for_long(
    conn: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curate, "_LOCK_TIMEOUT", "SET LOCAL lock_timeout = '200ms'")
    made(conn)
    with psycopg.connect(database) as loading:
        lock_writers(loading, ["ana--floods"])
        with pytest.raises(CollectionBusy, match="Try again"):
            deleted(conn)
    deleted(conn)


# Transferring


def test_a_transferred_collection_is_the_new_owners(conn: Connection) -> None:
    made(conn)
    transfer_collection(conn, ROOT, "ana--floods", "ben", by(ROOT))
    with pytest.raises(NotAllowed):
        patched(conn, {"title": "Still mine"})
    patched(conn, {"title": "Mine now"}, BEN)
    assert (stored(conn)["title"], stored(conn)["maap:username"]) == ("Mine now", "ben")


def test_only_administrators_transfer_and_only_to_users(conn: Connection) -> None:
    made(conn)
    with pytest.raises(NotAllowed):
        transfer_collection(conn, ANA, "ana--floods", "ben", by(ANA))
    for name in ("", " ", "@team", "*", "a/b", "a\nb"):
        with pytest.raises(DocumentRefused):
            transfer_collection(conn, ROOT, "ana--floods", name, by(ROOT))
    with pytest.raises(StateConflict, match="already"):
        transfer_collection(conn, ROOT, "ana--floods", "ana", by(ROOT))
    with pytest.raises(NoSuchCollection):
        transfer_collection(conn, ROOT, "nothing", "ben", by(ROOT))


def test_a_collection_that_was_there_before_this_system_can_get_an_owner(conn: Connection) -> None:
    conn.execute("SELECT pgstac.create_collection(%s::jsonb)", (json.dumps(collection("old")),))
    conn.commit()
    with pytest.raises(NotAllowed, match="no owner"):
        patched(conn, {"title": "x"}, id="old")
    transfer_collection(conn, ROOT, "old", "ana", by(ROOT))
    patched(conn, {"title": "x"}, id="old")
    assert stored(conn, "old")["title"] == "x"


# On record


def test_every_change_is_on_record_with_what_was_there_before(
    conn: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    first = made(conn)
    with caplog.at_level(logging.INFO, logger=log_events.LOGGER):
        second = patched(conn, {"title": "Floods of 2024"})
    event = json.loads(caplog.messages[-1])
    assert {name: event[name] for name in ("event", "action", "collection", "by", "via", "change")} == {
        "event": "collection.changed",
        "action": "collection_changed",
        "collection": "ana--floods",
        "by": "ana",
        "via": "api",
        "change": second.change,
    }
    transfer_collection(conn, ROOT, "ana--floods", "ben", by(ROOT))
    deleted(conn, BEN)
    trail = changes.history(conn, subject="ana--floods")
    assert [(one.action, one.by, one.reason) for one in trail] == [
        (Action.COLLECTION_DELETED, "ben", WHY),
        (Action.COLLECTION_TRANSFERRED, "root", WHY),
        (Action.COLLECTION_CHANGED, "ana", WHY),
        (Action.COLLECTION_CREATED, "ana", WHY),
    ]
    assert trail[-1].detail == {"before": None, "after": first.document}
    assert trail[2].detail == {"before": first.document, "after": second.document}
    assert trail[1].detail == {"before": {"owner": "ana"}, "after": {"owner": "ben"}}
    assert trail[0].detail["before"]["title"] == "Floods of 2024"


def test_a_change_waits_for_jobs_that_are_writing(conn: Connection, database: str) -> None:
    made(conn)
    loaded(conn, "ana", "one")

    def delete() -> Curated:
        with psycopg.connect(database) as own:
            return deleted(own)

    with ThreadPoolExecutor(1) as pool:
        lock_writers(conn, ["ana--floods"])
        load(conn, "ana--floods", [item("two", "ana--floods")])
        waiting = pool.submit(delete)
        _wait_for(conn, lambda: waits(database))
        assert not waiting.done()
        conn.commit()
        # What was written meanwhile is looked at: no job is known to have written it.
        with pytest.raises(StateConflict, match="no job wrote"):
            waiting.result(30)


def waits(database: str) -> bool:
    with psycopg.connect(database) as looking:
        row = looking.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()
        assert row is not None
        return bool(row[0])


def _wait_for(conn: Connection, happened: Callable[[], bool]) -> None:
    for _ in range(600):
        if happened():
            return
        conn.execute("SELECT pg_sleep(0.05)")
    raise AssertionError("nobody waited")
