"""Whose the collections are that there are in pgstac: the catalogs of users, as questions to the database.

Here belongs finding users by their collections, and collections by their users, a page at a time. Not here: noting who
owns a collection (`collections`), and what such a catalog looks like (`api.catalogs`).

A collection is whose the ledger says. Where the ledger names nobody, since it was there before this system, it is
whose it says itself, in `maap:username`. What then is left is nobody's, and stands at the top beside the users; so does
what belongs to a name that no address can hold as one segment of its path: `.`, `..`, or one with a slash.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from psycopg import sql

from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.texts import storable

# Thousands of rows, and no index on whose they are: all of them are looked at. A document is looked into only where the
# ledger names nobody, since unpacking those of 5,000 collections takes ten times as long as all else. pgstac may hold
# catalogs among its collections (stac-fastapi-pgstac's own extension writes such), of which the ledger knows nothing.
_OWNED = sql.SQL("""owned AS (
    SELECT
        collection.id,
        known.changed_at,
        nullif(nullif(
            substring(coalesce(known.owner, collection.content->>'maap:username') FROM '^[^/]+$'), '.'
        ), '..') AS owner
    FROM pgstac.collections AS collection
    LEFT JOIN ledger.collection AS known ON known.id = collection.id AND known.deleted_at IS NULL
    WHERE known.owner IS NOT NULL OR collection.content->>'type' = 'Collection'
)""")

# Names are ordered as people look for them, and those that differ in case only by their spelling.
_TOP = sql.SQL("""
WITH {owned}, entry AS (
    SELECT 'user' AS kind, owner AS id, count(*) AS collections, max(changed_at) AS changed_at
    FROM owned
    WHERE owner IS NOT NULL AND %(users)s
    GROUP BY owner
    UNION ALL
    SELECT 'collection', id, NULL, NULL
    FROM owned
    WHERE owner IS NULL AND %(collections)s
), page AS (
    SELECT *
    FROM entry
    WHERE %(after_kind)s::text IS NULL
        OR (kind = 'collection', lower(id) COLLATE "C", id COLLATE "C")
        > (%(after_kind)s = 'collection', lower(%(after_id)s) COLLATE "C", %(after_id)s)
    ORDER BY kind = 'collection', lower(id) COLLATE "C", id COLLATE "C"
    LIMIT %(limit)s
)
SELECT
    whole.entries, page.kind, page.id, page.collections, page.changed_at, collection.content->>'title',
    CASE WHEN %(documents)s THEN collection.content END
FROM (SELECT count(*) AS entries FROM entry) AS whole
LEFT JOIN page ON true
LEFT JOIN pgstac.collections AS collection ON page.kind = 'collection' AND collection.id = page.id
ORDER BY page.kind = 'collection', lower(page.id) COLLATE "C", page.id COLLATE "C"
""").format(owned=_OWNED)

_OF_USER = sql.SQL("""
WITH {owned}, mine AS (
    SELECT id, changed_at FROM owned WHERE owner = %(username)s
), page AS (
    SELECT id
    FROM mine
    WHERE %(after)s::text IS NULL OR id COLLATE "C" > %(after)s
    ORDER BY id COLLATE "C"
    LIMIT %(limit)s
)
SELECT
    whole.collections, whole.changed_at, page.id, collection.content->>'title',
    CASE WHEN %(documents)s THEN collection.content END
FROM (SELECT count(*) AS collections, max(changed_at) AS changed_at FROM mine) AS whole
LEFT JOIN page ON true
LEFT JOIN pgstac.collections AS collection ON collection.id = page.id
ORDER BY page.id COLLATE "C"
""").format(owned=_OWNED)

_OF_USERS = sql.SQL("""
WITH {owned}, mine AS (
    SELECT owner, id, changed_at, row_number() OVER (PARTITION BY owner ORDER BY id COLLATE "C") AS place
    FROM owned
    WHERE owner = ANY (%(usernames)s)
)
SELECT
    mine.owner, whole.collections, whole.changed_at, mine.id, collection.content->>'title'
FROM mine
JOIN (SELECT owner, count(*) AS collections, max(changed_at) AS changed_at FROM mine GROUP BY owner) AS whole
    ON whole.owner = mine.owner
JOIN pgstac.collections AS collection ON collection.id = mine.id
WHERE mine.place <= %(limit)s
ORDER BY mine.owner, mine.place
""").format(owned=_OWNED)

_OWNER = sql.SQL("WITH {owned} SELECT owner FROM owned WHERE id = %(collection)s").format(owned=_OWNED)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who owns collections."""

    username: str
    #: How many collections that are in pgstac.
    collections: int
    #: When items were last written to any of them, UTC; None where never since the ledger keeps count.
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class OwnedCollection:
    """A collection, as far as a list of them needs it."""

    id: str
    title: str | None
    #: Its STAC document as pgstac keeps it, where that was asked for.
    document: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class TopLevel:
    """A page of what stands directly below the root."""

    #: Of the page.
    entries: tuple[User | OwnedCollection, ...]
    #: How many there are on all pages.
    total: int
    #: Whether there is a page behind this one.
    more: bool


@dataclass(frozen=True, slots=True)
class UserPage:
    """A user, with a page of their collections in the order of their ids."""

    user: User
    collections: tuple[OwnedCollection, ...]
    #: Whether there is a page behind this one.
    more: bool


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the top level, behind which the next page begins."""

    #: True for a user, False for a collection that is nobody's.
    user: bool
    #: The username or the collection's id.
    id: str


def top_level(
    conn: Connection,
    *,
    limit: int,
    after: Place | None = None,
    users: bool = True,
    collections: bool = True,
    documents: bool = False,
) -> TopLevel:
    """Users who own collections, and behind them the collections that are nobody's, each in the order of names.

    Args:
        conn: the database.
        limit: at most so many.
        after: those that come after this one; it need not be there any more.
        users: whether users are asked for.
        collections: whether collections that are nobody's are asked for.
        documents: whether these come with their documents.
    """
    asked = {
        # One more shows whether there is a next page.
        "limit": limit + 1,
        "after_kind": None if after is None else ("user" if after.user else "collection"),
        "after_id": "" if after is None else storable(after.id, len(after.id)),
        "users": users,
        "collections": collections,
        "documents": documents,
    }
    rows = conn.execute(_TOP, asked).fetchall()
    entries = tuple(
        User(id, count, changed_at) if kind == "user" else OwnedCollection(id, title, document)
        for _, kind, id, count, changed_at, title, document in rows
        if id is not None
    )
    return TopLevel(entries[:limit], rows[0][0], len(entries) > limit)


def user_page(
    conn: Connection, username: str, *, limit: int, after: str | None = None, documents: bool = False
) -> UserPage | None:
    """A user with a page of their collections; None where nobody of that name owns any.

    Args:
        conn: the database.
        username: compared exactly.
        limit: at most so many collections.
        after: collections whose ids come after this one.
        documents: whether they come with their documents.
    """
    asked = {
        "username": storable(username, len(username)),
        # One more shows whether there is a next page.
        "limit": limit + 1,
        "after": None if after is None else storable(after, len(after)),
        "documents": documents,
    }
    rows = conn.execute(_OF_USER, asked).fetchall()
    total, changed_at = rows[0][:2]
    if not total:
        return None
    collections = tuple(OwnedCollection(*row[2:]) for row in rows if row[2] is not None)
    return UserPage(User(username, total, changed_at), collections[:limit], len(collections) > limit)


def first_pages(conn: Connection, usernames: Collection[str], *, limit: int) -> dict[str, UserPage]:
    """Users with their first collections, without documents; those who own none are left out.

    Args:
        conn: the database.
        usernames: compared exactly.
        limit: at most so many collections of each.
    """
    rows = conn.execute(_OF_USERS, {"usernames": list(usernames), "limit": limit}).fetchall()
    found = {}
    for username, of_user in groupby(rows, key=itemgetter(0)):
        listed = list(of_user)
        _, total, changed_at, _, _ = listed[0]
        collections = tuple(OwnedCollection(id, title, None) for *_, id, title in listed)
        found[username] = UserPage(User(username, total, changed_at), collections, total > len(collections))
    return found


def owner(conn: Connection, collection: str) -> str | None:
    """The user in whose catalog a collection is; None where it is nobody's, or there is no such collection."""
    row = conn.execute(_OWNER, {"collection": storable(collection, len(collection))}).fetchone()
    return None if row is None else row[0]
