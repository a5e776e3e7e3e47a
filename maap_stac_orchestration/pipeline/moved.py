"""Items that a job writes to another collection than before: their old copies go, and the job's record says so.

Here belongs which old copies go when a job's result is written: after a grant, a revocation, or a corrected catalog.
Not here: writing the new ones and the transaction that both stand in (`load`), what the ledger knows of copies
(`ledger.old_copies`), and moving items for a new template of default ids (`migrate_ids`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from maap_stac_orchestration.ledger import old_copies
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.id_moves import RawNames
from maap_stac_orchestration.ledger.old_copies import Place
from maap_stac_orchestration.pgstac.items import delete, present

#: Moves from one collection to another that a sentence tells one by one.
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an item of a job is on its way to."""

    place: Place
    #: The names of the job.
    names: RawNames
    #: Whether it goes to the job's default collection.
    default: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed from where it was before."""

    #: Collections that hold fewer items now.
    collections: frozenset[str] = frozenset()
    #: The ledger's number of a job -> what to say of it.
    told: Mapping[int, str] = field(default_factory=dict)


def copies_elsewhere(conn: Connection, jobs: Sequence[int], placements: Iterable[Placement]) -> dict[Place, str]:
    """Where these jobs wrote items before that they do not write there now -> the collection that these go to now.

    What another job wrote there since is not in it. Nor is what lies in a default collection that is the job's by
    another template of ids, while it goes to that of this one: this is for a migration of ids, which keeps count.

    Args:
        conn: an open connection.
        jobs: the ledger's numbers of all jobs; only where one of them was written before, more is looked at.
        placements: where their items go.
    """
    before = old_copies.collections_of(conn, jobs)
    if not before:
        return {}
    now: dict[tuple[int, str], list[Placement]] = defaultdict(list)
    for one in placements:
        if one.place.job_id in before:
            now[one.place.job_id, one.place.item_id].append(one)
    going = [
        one.place for some in now.values() for one in some if set(before[one.place.job_id]) != {one.place.collection}
    ]
    if not going:
        return {}
    found = {}
    for copy in old_copies.elsewhere(conn, going, before):
        places = now[copy.place.job_id, copy.place.item_id]
        if any(one.place.collection == copy.place.collection for one in places):
            continue
        if not (places[0].default and copy.default is not None and copy.default.holds(places[0].names)):
            found[copy.place] = places[0].place.collection
    return found


def remove(conn: Connection, copies: Mapping[Place, str]) -> Removed:
    """Removes copies from pgstac and the ledger.

    Args:
        conn: the transaction that writes the new ones, after it did so; the one writer of all collections of both.
        copies: as `copies_elsewhere` gives them, where the new one found its place. What another job wrote to their
            places meanwhile stays.
    """
    if not copies:
        return Removed()
    by_collection: dict[str, list[Place]] = defaultdict(list)
    for place in old_copies.forget(conn, copies):
        by_collection[place.collection].append(place)
    counts: dict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
    for collection in sorted(by_collection):
        # Somebody may have deleted one past this system; it did not move then.
        there = present(conn, collection, [place.item_id for place in by_collection[collection]])
        delete(conn, collection, there)
        for place in by_collection[collection]:
            if place.item_id in there:
                counts[place.job_id][collection, copies[place]] += 1
    return Removed(
        frozenset(collection for moves in counts.values() for collection, _ in moves),
        {job: _sentence(moves) for job, moves in counts.items()},
    )


def _sentence(moves: Counter[tuple[str, str]]) -> str:
    """For the history of a job."""
    ordered = sorted(moves.items())
    told = [f"{_items(items)} moved from {source} to {target}." for (source, target), items in ordered[:_TOLD]]
    if rest := sum(items for _, items in ordered[_TOLD:]):
        told.append(f"{_items(rest)} moved between other collections.")
    return " ".join(told)


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{number:,} items"
