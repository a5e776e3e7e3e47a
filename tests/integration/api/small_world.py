"""Collections and items of every kind that searches must cope with, for tests of the STAC API.

Here belongs what is in the database. Not here: what tests expect of it, beyond the names of things.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.pgstac.extent import spatial_extent
from maap_stac_orchestration.pgstac.queryables import register_queryables

#: Polygons along a river, one each week, by a user with a dot in their name.
FLOODS = "ana.lee__flood-map__v1.0__demo"
#: Points with ranges of time instead of moments, by a user with a dash.
TRACKS = "jo-ann--gedi-tracks"
#: Boxes on both sides of the antimeridian, whose extent is split there.
ISLANDS = "pacific-islands"
#: How many further collections there are, without items: more than a page of them.
OTHERS = 25

WEEKS = 30
FIRST = datetime(2024, 1, 3, 10, 30, tzinfo=UTC)


def fill(database: str) -> None:
    """Puts all of it into a database, given by its URL."""
    collections = [
        _collection(FLOODS, "Floods by ana.lee", ["ana.lee", "flood-map", "water"], [[-61, -4, -59, -2]]),
        _collection(TRACKS, "GEDI tracks of jo-ann", ["jo-ann", "gedi", "biomass"], [[10, 40, 22, 52]]),
        _collection(
            ISLANDS,
            "Islands of the Pacific",
            ["islands", "reef"],
            spatial_extent([(177, 180), (-180, -170)], -20, -12),
        ),
        *(
            _collection(f"other-{number:02}", f"Filler number {number}", ["filler"], [[100, 0, 101, 1]])
            for number in range(OTHERS)
        ),
    ]
    items = [*(_flood(week) for week in range(WEEKS)), *(_track(day) for day in range(12)), *_islands()]
    for item in items:
        assert core_errors(item) == []
    with psycopg.connect(database) as connection:
        register_queryables(connection)
        for collection in collections:
            connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(collection),))
        connection.execute("SELECT pgstac.create_items(%s)", (Jsonb(items),))


def collection(identifier: str) -> dict[str, Any]:
    """A collection of which nothing more is known."""
    return _collection(identifier, f"The collection {identifier}", [], [[-180, -90, 180, 90]])


def point(identifier: str, of: str) -> dict[str, Any]:
    """An item somewhere."""
    return _item(
        identifier, of, {"type": "Point", "coordinates": [7.1, 50.7]}, [7.1, 50.7, 7.1, 50.7], datetime=_text(FIRST)
    )


def _collection(identifier: str, title: str, keywords: list[str], boxes: list[list[float]]) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": identifier,
        "title": title,
        "description": f"{title}, for tests.",
        "keywords": keywords,
        "license": "CC-BY-4.0",
        "providers": [{"name": "MAAP", "roles": ["processor"], "url": "https://maap-project.org"}],
        "extent": {
            "spatial": {"bbox": boxes},
            "temporal": {"interval": [["2024-01-01T00:00:00Z", "2024-12-31T00:00:00Z"]]},
        },
        "links": [{"rel": "license", "href": "https://creativecommons.org/licenses/by/4.0/", "title": "CC-BY-4.0"}],
    }


def _item(
    identifier: str, collection: str, geometry: dict[str, Any], bbox: list[float], **properties: Any
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
        "id": identifier,
        "collection": collection,
        "geometry": geometry,
        "bbox": bbox,
        "properties": properties,
        "links": [{"rel": "collection", "href": "../collection.json"}],
        "assets": {"data": {"href": f"s3://maap-ops-workspace/{identifier}.tif", "type": "image/tiff"}},
    }


def _flood(week: int) -> Any:
    west, south = -61 + week / 20, -4 + week / 20
    return _item(
        f"flood-{week:02}",
        FLOODS,
        {"type": "Polygon", "coordinates": [_ring(west, south, west + 0.4, south + 0.4)]},
        [west, south, west + 0.4, south + 0.4],
        **{
            "datetime": _text(FIRST + timedelta(weeks=week)),
            "eo:cloud_cover": week,
            "maap:username": "ana.lee",
            "maap:algorithm": "flood-map",
            "maap:algorithm_version": "v1.0",
            "maap:tag": "demo" if week % 3 else "trial_run",
        },
    )


def _track(day: int) -> Any:
    x, y = 10.0 + day, 40.0 + day
    begin = FIRST + timedelta(days=day)
    return _item(
        f"track-{day:02}",
        TRACKS,
        {"type": "Point", "coordinates": [x, y]},
        [x, y, x, y],
        **{
            "datetime": None,
            "start_datetime": _text(begin),
            "end_datetime": _text(begin + timedelta(hours=6)),
            "eo:cloud_cover": 5,
            "maap:username": "jo-ann",
            "maap:tag": None,
        },
    )


def _islands() -> list[Any]:
    parts = [[_ring(179.5, -17, 180, -16)], [_ring(-180, -17, -179.5, -16)]]
    return [
        _item(
            "taveuni",
            ISLANDS,
            {"type": "MultiPolygon", "coordinates": parts},
            [179.5, -17, -179.5, -16],
            **{"datetime": _text(FIRST)},
        ),
        _item(
            "suva",
            ISLANDS,
            {"type": "Point", "coordinates": [178.4, -18.1]},
            [178.4, -18.1, 178.4, -18.1],
            **{"datetime": _text(FIRST)},
        ),
        _item(
            "apia",
            ISLANDS,
            {"type": "Point", "coordinates": [-171.8, -13.8]},
            [-171.8, -13.8, -171.8, -13.8],
            **{"datetime": _text(FIRST)},
        ),
    ]


def _ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
