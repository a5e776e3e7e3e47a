"""Who owns ids of default collections, collections and items."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maap_stac_orchestration.governance.default_collection import DEFAULT_TEMPLATE, default_collection_id
from maap_stac_orchestration.ledger import collections, items
from maap_stac_orchestration.ledger.default_ids import Names, NoDefaultId, own, own_all, would_own
from maap_stac_orchestration.ledger.records import KnownItem

from .build import WRITTEN, Connection

WITHOUT_TAG = "{username}__{algorithm_name}__{algorithm_version}"


def own_id(
    conn: Connection, username: str, algorithm: str, version: str, tag: str | None, template: str = DEFAULT_TEMPLATE
) -> str:
    names = (username, algorithm, version, tag)
    return own(conn, names, default_collection_id(names, template))


def test_the_first_names_to_come_own_the_plain_id_and_keep_it(connection: Connection) -> None:
    first = own_id(connection, "ana", "flood map", "v1", None)
    second = own_id(connection, "ana", "flood/map", "v1", None)
    assert first == "ana__flood-map__v1"
    assert second.startswith("ana__flood-map__v1-")
    assert own_id(connection, "ana", "flood map", "v1", None) == first
    assert own_id(connection, "ana", "flood/map", "v1", None) == second


def test_ids_that_differ_in_case_only_are_not_both_given_away(connection: Connection) -> None:
    assert own_id(connection, "ana", "Flood", "v1", None) == "ana__Flood__v1"
    assert own_id(connection, "ana", "flood", "v1", None) != "ana__flood__v1"


def test_names_that_the_template_leaves_out_do_not_count(connection: Connection) -> None:
    one = own_id(connection, "ana", "flood", "v1", "a", template=WITHOUT_TAG)
    assert own_id(connection, "ana", "flood", "v1", "b", template=WITHOUT_TAG) == one


def test_an_id_whose_hash_somebody_spelled_out_is_passed_over(connection: Connection) -> None:
    default = default_collection_id(("ana", "flood/map", "v1", None))
    own_id(connection, "ana", "flood map", "v1", None)
    forged = default.hashed.split("__")
    assert own_id(connection, "ana", forged[1], forged[2], None) == default.hashed
    third = own(connection, ("ana", "flood/map", "v1", None), default)
    assert third == list(default.candidates())[2]


def test_there_is_an_end_to_ids(connection: Connection) -> None:
    default = default_collection_id(("ana", "flood", "v1", None))
    connection.execute(
        "INSERT INTO ledger.default_collection (id, username, algorithm, version) "
        "SELECT upper(id), 'eve', 'x', 'y' FROM unnest(%s::text[]) AS id",
        [list(default.candidates())],
    )
    with pytest.raises(NoDefaultId, match="ana, flood, v1, no tag"):
        own(connection, ("ana", "flood", "v1", None), default)


def test_those_who_ask_at_once_agree(database: str) -> None:
    every = ["a b", "a/b", "a+b", "A b"] * 4

    def ask(algorithm: str) -> tuple[str, str]:
        with psycopg.connect(database) as conn:
            return algorithm, own_id(conn, "ana", algorithm, "v1", None)

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, every))
    assert len(answers) == 4
    assert len({id.lower() for _, id in answers}) == 4


#: Names of which many come to the same id.
NAMES = st.tuples(
    st.sampled_from(["ana", "Ana", "a na"]),
    st.sampled_from(["flood", "flood/map", "flood map", "Flood map", "flood\0map", "x" * 120]),
    st.sampled_from(["v1", "V1"]),
    st.sampled_from([None, "a", "a/b", "a b"]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(NAMES, max_size=4),
    together=st.lists(NAMES, max_size=12),
    shuffled=st.randoms(use_true_random=False),
    template=st.sampled_from([DEFAULT_TEMPLATE, WITHOUT_TAG]),
)
def test_asking_for_many_is_asking_for_each_in_the_order_of_the_alphabet(
    connection: Connection, before: list[Names], together: list[Names], shuffled: Random, template: str
) -> None:
    in_order = sorted(set(together), key=lambda names: default_collection_id(names, template).owner.canonical())
    shuffled.shuffle(together)
    found = []
    for at_once in (False, True):
        connection.execute("SAVEPOINT before")
        for names in before:
            own_id(connection, *names, template=template)
        if at_once:
            found.append(own_all(connection, {names: default_collection_id(names, template) for names in together}))
        else:
            found.append({names: own_id(connection, *names, template=template) for names in in_order})
        connection.execute("ROLLBACK TO SAVEPOINT before")
    assert found[0] == found[1]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(NAMES, max_size=6), names=NAMES)
def test_what_names_would_own_is_what_they_own_then(connection: Connection, before: list[Names], names: Names) -> None:
    connection.execute("SAVEPOINT before")
    for one in before:
        own_id(connection, *one)
    would = would_own(connection, {one: default_collection_id(one) for one in (*before, names)})
    count = connection.execute("SELECT count(*) FROM ledger.default_collection").fetchone()
    assert count == (len({own_id(connection, *one) for one in before}),)
    assert {one: own_id(connection, *one) for one in would} == would
    connection.execute("ROLLBACK TO SAVEPOINT before")


def test_those_who_ask_for_many_at_once_agree(database: str) -> None:
    every = [("ana", algorithm, "v1", None) for algorithm in ("a b", "a/b", "a+b", "A b", "c", "d/e", "d e")]

    def ask(number: int) -> frozenset[tuple[Names, str]]:
        with psycopg.connect(database) as conn:
            mine = every[number % 3 :] + every[: number % 2]
            return frozenset(own_all(conn, {names: default_collection_id(names) for names in mine}).items())

    with ThreadPoolExecutor(8) as pool:
        answers = frozenset().union(*pool.map(ask, range(16)))
    assert len(answers) == len(every)
    assert len({id.lower() for _, id in answers}) == len(every)


def test_a_collection_is_registered_once_and_keeps_its_owner(connection: Connection) -> None:
    assert collections.register(connection, "flood", owner="ana", job_id=None)
    assert not collections.register(connection, "flood", owner="bob", job_id=None)
    assert collections.find(connection, ["flood", "other"])["flood"].owner == "ana"


def test_a_collection_whose_id_differs_in_case_only_is_refused(connection: Connection) -> None:
    collections.register(connection, "flood", owner="ana", job_id=None)
    with pytest.raises(collections.CollectionIdTaken, match=r"Flood .* flood"):
        collections.register(connection, "Flood", owner="ana", job_id=None)


def test_collections_that_changed_wait_for_upkeep_longest_first(connection: Connection) -> None:
    collections.changed(connection, ["b"])
    collections.changed(connection, ["a"])
    waiting = collections.to_refresh(connection)
    assert waiting[0].changed_at is not None
    assert [(one.id, one.owner) for one in waiting] == [("b", None), ("a", None)]
    assert [one.id for one in collections.to_refresh(connection, limit=1)] == ["b"]
    collections.refreshed(connection, "b", waiting[0].changed_at)
    assert [one.id for one in collections.to_refresh(connection)] == ["a"]


def test_a_change_during_upkeep_is_not_covered_by_it(connection: Connection) -> None:
    collections.changed(connection, ["a"])
    (before,) = collections.to_refresh(connection)
    assert before.changed_at is not None
    collections.changed(connection, ["a"])
    collections.refreshed(connection, "a", before.changed_at)
    assert [one.id for one in collections.to_refresh(connection)] == ["a"]


def test_a_collection_from_before_that_clashes_in_case_stops_nobody(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    collections.changed(connection, ["Flood", "flood", "other"])
    assert len(collections.to_refresh(connection)) == 2
    assert "gets no upkeep" in caplog.text


def test_the_id_of_a_deleted_collection_stays_taken_however_it_is_spelled(connection: Connection) -> None:
    collections.register(connection, "Flood", owner="ana", job_id=None)
    collections.register(connection, "other", owner="ana", job_id=None)
    assert collections.delete(connection, "Flood", by="admin")
    assert collections.deleted_ids(connection, ["FLOOD", "flood", "other", "a\0b", "\ud800"]) == ["Flood"]
    for spelling in ("Flood", "flood"):
        with pytest.raises(collections.CollectionDeleted, match=rf"{spelling} cannot be .* deleted by admin on"):
            collections.register(connection, spelling, owner="ana", job_id=None)


def test_what_is_deleted_is_deleted_once_and_belongs_to_nobody(connection: Connection) -> None:
    collections.register(connection, "flood", owner="ana", job_id=None)
    collections.changed(connection, ["flood"])
    assert collections.owner_of(connection, "flood") == "ana"
    assert collections.delete(connection, "flood", by="admin")
    assert not collections.delete(connection, "flood", by="somebody")
    assert collections.tombstones(connection, ["flood"])["flood"].deleted_by == "admin"
    assert collections.owner_of(connection, "flood") is None
    assert collections.to_refresh(connection) == []
    assert collections.find(connection, ["flood"]) == {}
    assert collections.lock(connection, "flood") is None
    with pytest.raises(LookupError, match="flood"):
        collections.transfer(connection, "flood", "bob")


def test_a_collection_that_the_ledger_did_not_know_is_deleted_all_the_same(connection: Connection) -> None:
    assert collections.delete(connection, "from-before", by="admin")
    assert collections.deleted_ids(connection, ["from-before"]) == ["from-before"]


def test_a_tombstone_tells_where_the_items_were_moved(connection: Connection) -> None:
    collections.register(connection, "old", owner="ana", job_id=None)
    collections.delete(connection, "old", by="admin", moved_to="new")
    (stone,) = collections.tombstones(connection, ["old"]).values()
    assert stone.moved_to == "new"
    assert stone.sentence.startswith("The items of old were moved to new by admin on ")


def test_a_transferred_collection_has_the_new_owner(connection: Connection) -> None:
    collections.register(connection, "flood", owner="ana", job_id=None)
    assert collections.transfer(connection, "flood", "bob") == "ana"
    assert collections.owner_of(connection, "flood") == "bob"
    with pytest.raises(LookupError, match="unknown"):
        collections.transfer(connection, "unknown", "bob")


def test_what_describes_a_collection_is_noted_when_it_changes(connection: Connection) -> None:
    collections.register(connection, "flood", owner="ana", job_id=None)
    assert collections.lock(connection, "flood") == collections.Described("ana", {}, None)
    fields = {"title": "Floods", "keywords": ["a"]}
    assert collections.describe(connection, "flood", fields, WRITTEN)
    assert not collections.describe(connection, "flood", fields, WRITTEN)
    assert collections.lock(connection, "flood") == collections.Described("ana", fields, WRITTEN)


ITEM = KnownItem("flood", "one", None, "ana", WRITTEN, WRITTEN, "hash", "key", "etag", "sha", "run")


def test_an_item_is_known_by_who_wrote_it_last(connection: Connection) -> None:
    assert items.write(connection, [ITEM, replace(ITEM, id="two"), replace(ITEM, collection="other")]) == 3
    newer = replace(ITEM, content_hash="another", job_id=5, run_id=None)
    assert items.write(connection, [newer]) == 1
    assert items.known(connection, "flood", ["one", "two", "three"]) == {"one": newer, "two": replace(ITEM, id="two")}
    assert items.known(connection, "flood", []) == {}


def test_an_item_that_stands_twice_among_rows_is_written_as_the_last_one_says(connection: Connection) -> None:
    items.write(connection, [ITEM, replace(ITEM, content_hash="last")])
    assert items.known(connection, "flood", ["one"])["one"].content_hash == "last"
