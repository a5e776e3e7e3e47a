"""Where each document of an exported collection lies, and how the documents link to each other.

Here belong the names of folders and files, and the documents that only link: pure. Not here: reading the items and
writing the files (`export`), and items as a table (`geoparquet`).

    catalog.json                 the root, which leads to the collection
    collection.json              the collection, with what marks it as an export
    items.parquet                all items as stac-geoparquet
    {id}/{id}.json               an item, where there are few
    2024/06/{id}/{id}.json       where there are more; months with many have a folder for each day
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from maap_stac_orchestration.catalog.document import STAC_VERSION

CATALOG: Final = "catalog.json"
COLLECTION: Final = "collection.json"
TABLE: Final = "items.parquet"
#: What marks a collection's document as the root of an export, with what does not stand in the collection otherwise.
MARK: Final = "maap:export"
#: Of the layout and of what stands under `MARK`.
VERSION: Final = 1
#: What a folder holds before it is divided.
MAX_ITEMS: Final = 1000
#: Links that say where a document stands. They are made anew wherever it goes.
STRUCTURAL: Final = frozenset({"self", "root", "parent", "collection", "items", "item", "child"})

_JSON = "application/json"
_GEOJSON = "application/geo+json"
PARQUET_TYPE: Final = "application/vnd.apache.parquet"
#: By which readers find that an asset holds the items of its collection.
PARQUET_ROLE: Final = "collection-mirror"
_PARQUET_NAME = "geoparquet-items"
#: Marks a collection that has no assets of its own.
_ADDED = "added"

#: Names that every file system and every client takes as they are.
_SAFE = re.compile(r"[A-Za-z0-9-](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
#: Leaves room for a suffix and for `.json` in the 255 bytes that file systems give a name.
_LONGEST = 200
_OURS = frozenset({CATALOG, COLLECTION, TABLE})
#: Names of devices, which Windows takes in no folder.
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of an export; the root is the empty text, others are `2024`, `2024/06`, `2024/06/15`."""

    #: Day -> the folder of its items.
    of_day: Mapping[str, str]
    #: Folder -> those right inside it, in order.
    inside: Mapping[str, Sequence[str]]


def folders(days: Mapping[str, int], limit: int = MAX_ITEMS) -> Folders:
    """Divides items by year and month where they are more than `limit`, and by day where a month has more.

    Args:
        days: `2024-06-15`, or another word for those of no day -> items.
        limit: what a folder holds; that of a day holds as many as there are.
    """
    if sum(days.values()) <= limit:
        return Folders(dict.fromkeys(days, ""), {})
    months: Counter[str] = Counter()
    for day, count in days.items():
        months[_month(day)] += count
    of_day = {
        day: day.replace("-", "/") if months[_month(day)] > limit and _month(day) != day else _month(day)
        for day in days
    }
    inside: defaultdict[str, set[str]] = defaultdict(set)
    for folder in of_day.values():
        while folder:
            parent = folder.rpartition("/")[0]
            inside[parent].add(folder)
            folder = parent
    return Folders(of_day, {parent: sorted(children) for parent, children in sorted(inside.items())})


def _month(day: str) -> str:
    year, _, rest = day.partition("-")
    return f"{year}/{rest[:2]}" if rest else day


def names(ids: Iterable[str]) -> dict[str, str]:
    """Id -> the name of its folder and file, for the items of one folder.

    An id that is a safe name is its own. Another one, and each of several that differ in upper and lower case only,
    ends in digits of its SHA-256: nothing that an id spells leads anywhere, and no two items share a file where upper
    and lower case are one.
    """
    ids = list(ids)
    times = Counter(id.lower() for id in ids)
    safe = {id for id in ids if times[id.lower()] == 1 and _is_safe(id)}
    hashed = {id: _hashed(id) for id in ids if id not in safe}
    # An id may spell what another one was made to.
    spelled = {name.lower() for name in hashed.values()}
    return {id: hashed.get(id) or (_hashed(id) if id.lower() in spelled else id) for id in ids}


def _is_safe(id: str) -> bool:
    return (
        len(id) <= _LONGEST
        and _SAFE.fullmatch(id) is not None
        and id.lower() not in _OURS
        and _DEVICES.fullmatch(id) is None
    )


def _hashed(id: str) -> str:
    digits = hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    start = re.sub(r"[^A-Za-z0-9_-]+", "-", id)[: _LONGEST - 17].strip("-")
    return f"{start}-{digits}" if start else digits


def item_path(folder: str, name: str) -> str:
    """Where an item lies, from the root."""
    return "/".join(part for part in (folder, name, f"{name}.json") if part)


def catalog_path(folder: str) -> str:
    """Where the document that leads to a folder's items lies, from the root."""
    return f"{folder}/{CATALOG}" if folder else COLLECTION


def item_document(item: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """An item as it lies in a folder."""
    up = "../" * (1 + _depth(folder))
    links = [
        _link("root", f"{up}{CATALOG}"),
        _link("parent", f"../{CATALOG if folder else COLLECTION}"),
        _link("collection", f"{up}{COLLECTION}"),
    ]
    return {**item, "links": [*links, *kept_links(item)]}


def catalog_document(collection: str, folder: str, inside: Iterable[str], members: Iterable[str]) -> dict[str, Any]:
    """The catalog of a folder below the root.

    Args:
        collection: its id.
        folder: the folder.
        inside: folders right inside it.
        members: names of its items.
    """
    up = "../" * _depth(folder)
    when = folder.replace("/", "-")
    parent = folder.rpartition("/")[0]
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": f"{collection}-{when}",
        "title": when,
        "description": f"Items of {collection} that begin in {when}.",
        "links": [
            _link("root", f"{up}{CATALOG}"),
            _link("parent", f"../{CATALOG if parent else COLLECTION}"),
            *(_link("child", f"./{one.rpartition('/')[2]}/{CATALOG}", one.replace("/", "-")) for one in inside),
            *_item_links(members),
        ],
    }


def root_document(collection: Mapping[str, Any]) -> dict[str, Any]:
    """The catalog above the collection, by which the export is read as a whole."""
    id = collection["id"]
    title = collection.get("title")
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": f"{id}-export",
        "description": f"The collection {id} as files.",
        "links": [
            _link("root", f"./{CATALOG}"),
            _link("child", f"./{COLLECTION}", title if isinstance(title, str) else None),
        ],
    }


def collection_document(
    collection: Mapping[str, Any],
    mark: Mapping[str, Any],
    inside: Iterable[str],
    members: Iterable[str],
    *,
    table: bool,
) -> dict[str, Any]:
    """The collection as the export has it.

    Args:
        collection: as the database has it.
        mark: what stands under `MARK`.
        inside: folders right inside the root.
        members: names of items right inside the root.
        table: whether `TABLE` lies beside it.
    """
    links = [
        _link("root", f"./{CATALOG}"),
        _link("parent", f"./{CATALOG}"),
        *kept_links(collection),
        *(_link("child", f"./{one}/{CATALOG}", one) for one in inside),
        *_item_links(members),
    ]
    document = {**collection, MARK: {"version": VERSION, **mark}, "links": links}
    if table:
        if "assets" not in collection:
            document[MARK]["assets"] = _ADDED
        assets = dict(collection.get("assets") or {})
        name = _PARQUET_NAME
        while name in assets:
            name += "-exported"
        assets[name] = {
            "href": f"./{TABLE}",
            "type": PARQUET_TYPE,
            "title": "The items as stac-geoparquet",
            "roles": [PARQUET_ROLE],
        }
        document["assets"] = assets
    return document


def as_stored(document: Mapping[str, Any]) -> dict[str, Any]:
    """A collection's document as the database had it, from the export's."""
    stored = {**document, "links": kept_links(document)}
    mark = stored.pop(MARK, None)
    assets = document.get("assets")
    if isinstance(assets, Mapping):
        stored["assets"] = {name: asset for name, asset in assets.items() if not _is_table(asset)}
        if not stored["assets"] and isinstance(mark, Mapping) and mark.get("assets") == _ADDED:
            del stored["assets"]
    return stored


def kept_links(document: Mapping[str, Any]) -> list[Any]:
    """The links of a document that do not say where it stands."""
    links = document.get("links")
    return [
        link
        for link in (links if isinstance(links, list) else ())
        if not (isinstance(link, Mapping) and link.get("rel") in STRUCTURAL)
    ]


def _is_table(asset: Any) -> bool:
    return isinstance(asset, Mapping) and asset.get("href") == f"./{TABLE}" and asset.get("type") == PARQUET_TYPE


def _item_links(members: Iterable[str]) -> list[dict[str, Any]]:
    return [{"rel": "item", "href": f"./{item_path('', name)}", "type": _GEOJSON} for name in members]


def _link(rel: str, href: str, title: str | None = None) -> dict[str, Any]:
    link = {"rel": rel, "href": href, "type": _JSON}
    return link | {"title": title} if title else link


def _depth(folder: str) -> int:
    return len(folder.split("/")) if folder else 0
