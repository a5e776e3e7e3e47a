"""Items as stac-geoparquet: one table of all items of a collection, and back.

Here belongs what a table can carry of items, what it cannot, and telling which. Not here: where items come from and
where the file goes (`export`).

Properties are columns of their own, geometries are WKB, bounding boxes structs, the times that STAC defines timestamps.
What is of several types among the items (a number here and a text there) is no column of any type: it is written as
JSON text, and which columns those are stands in the file, beside what a table does not know otherwise. The file is read
back and compared; readers that know nothing of our notes see nulls where an item has no such member.

rustac writes such files too, and reads these; its writer cuts times at milliseconds, drops heights, makes Polygon what
lies beside MultiPolygon to MultiPolygon, and drops members that the first batch of items lacks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import Any, Final

import orjson

from maap_stac_orchestration.pipeline.export_layout import kept_links

#: Rows of a row group, which is what is in memory at a time.
ROWS: Final = 2000
#: Distinct members of one object beyond which it is no struct any more but JSON text.
MAX_MEMBERS: Final = 500

_VERSION = "1.0.0"
#: Members of an item that have a column of their own; no property can have the name of one.
_MEMBERS = ("type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "collection", "assets", "links")
_RESERVED = frozenset({*_MEMBERS, "properties"})
#: Written in forms of their own.
_GEOMETRY, _BBOX = "geometry", "bbox"
#: Properties that are times by the core of STAC.
_TIMES = ("datetime", "start_datetime", "end_datetime", "created", "updated")
#: Microseconds are what a column holds.
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_SIDES_WITH_HEIGHTS = ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")
#: Keys in the metadata of the file: GeoParquet's, stac-geoparquet's and ours.
_GEO_KEY, _STAC_KEY, _OUR_KEY = "geo", "stac-geoparquet", "maap-stac"
_INT64 = 2**63
#: Whole numbers that floating point holds.
_EXACT = 2**53
#: The place of a list's elements in a path.
_EACH = "[]"


class Aside:
    """Items in a file, since they are gone over more than once and need not fit memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        self._path = path
        self._file = pyarrow.output_stream(path, compression="zstd")
        self._waiting: list[Mapping[str, Any]] = []

    def put(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Takes more items."""
        self._waiting += items
        while len(self._waiting) >= ROWS:
            self._write(self._waiting[:ROWS])
            del self._waiting[:ROWS]

    def close(self) -> None:
        """No more items come."""
        if self._waiting:
            self._write(self._waiting)
            self._waiting = []
        self._file.close()

    def _write(self, items: Sequence[Mapping[str, Any]]) -> None:
        written = orjson.dumps(items)
        self._file.write(len(written).to_bytes(8))
        self._file.write(written)

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """The items in their order, `ROWS` at a time, as often as it is called."""
        import pyarrow

        with pyarrow.input_stream(self._path, compression="zstd") as file:
            while head := file.read(8):
                yield orjson.loads(file.read(int.from_bytes(head)))


class NotCarried(Exception):
    """Items cannot be a table; the message is a sentence that says which, and why."""


@dataclass(slots=True)
class _Shape:
    """What values at one place of the items are like."""

    kinds: set[str] = field(default_factory=set)
    members: dict[str, _Shape] = field(default_factory=dict)
    elements: _Shape | None = None
    #: The largest distance of a whole number from zero.
    largest: int = 0
    #: How many items have it, null or not.
    present: int = 0
    nulls: bool = False

    def see(self, value: Any) -> None:
        if value is None:
            self.nulls = True
        elif isinstance(value, str):
            self.kinds.add("text")
        elif isinstance(value, bool):
            self.kinds.add("bool")
        elif isinstance(value, int):
            self.kinds.add("int")
            self.largest = max(self.largest, abs(value))
        elif isinstance(value, float):
            self.kinds.add("float")
        elif isinstance(value, Mapping):
            self._see_object(value)
        else:
            self._see_list(value)

    def _see_object(self, value: Mapping[str, Any]) -> None:
        self.kinds.add("object")
        for name, member in value.items():
            known = self.members.get(name)
            if known is None:
                if len(self.members) > MAX_MEMBERS:
                    continue
                known = self.members[name] = _Shape()
            known.see(member)

    def _see_list(self, value: Sequence[Any]) -> None:
        self.kinds.add("list")
        if self.elements is None:
            self.elements = _Shape()
        if set(map(type, value)) == {float}:
            # Most long lists are coordinates.
            self.elements.kinds.add("float")
            return
        for one in value:
            self.elements.see(one)


@dataclass(slots=True)
class Looked:
    """What was seen of items, from which their table's columns are made; items are looked at once before."""

    items: int = 0
    _columns: dict[str, _Shape] = field(default_factory=dict)
    #: Members of items that STAC does not know.
    _foreign: set[str] = field(default_factory=set)
    _not_times: set[str] = field(default_factory=set)
    _heights: bool = False
    _clash: tuple[str, str] | None = None

    def look(self, item: Mapping[str, Any]) -> None:
        """Takes one more item into account."""
        self.items += 1
        properties = item.get("properties") or {}
        for name, value in properties.items():
            if name in _RESERVED or (name in item and name != "properties"):
                self._clash = self._clash or (item["id"], name)
            elif name in _TIMES and value is not None and _moment(value) is None:
                self._not_times.add(name)
            self._see(name, value)
        for name, value in item.items():
            if name in (_GEOMETRY, "properties"):
                continue
            if name == _BBOX:
                self._heights = self._heights or (value is not None and len(value) > len(_SIDES))
                continue
            if name not in _RESERVED:
                self._foreign.add(name)
            self._see(name, value)

    def _see(self, name: str, value: Any) -> None:
        shape = self._columns.get(name)
        if shape is None:
            shape = self._columns[name] = _Shape()
        shape.present += 1
        shape.see(value)

    def table(self) -> Table:
        """The columns for these items.

        Raises:
            NotCarried: there are none for them.
        """
        import pyarrow

        if self._clash is not None:
            id, name = self._clash
            raise NotCarried(
                f"The item {id} has a property called {name}, which is what a member of an item is called; as columns "
                "they would be one."
            )
        if len(self._columns) > MAX_MEMBERS:
            raise NotCarried(f"The items have {len(self._columns)} different properties; at most {MAX_MEMBERS} fit.")
        times = {name for name in _TIMES if name in self._columns and name not in self._not_times}
        texts: list[tuple[str, ...]] = []
        fields = [pyarrow.field(_GEOMETRY, pyarrow.binary())]
        sides = _SIDES_WITH_HEIGHTS if self._heights else _SIDES
        fields.append(pyarrow.field(_BBOX, pyarrow.struct([(side, pyarrow.float64()) for side in sides])))
        if not self.items:
            fields.append(pyarrow.field("id", pyarrow.string()))
        for name in sorted(self._columns, key=_place):
            shape = self._columns[name]
            if name == "assets" and shape.kinds == {"object"} and not shape.members:
                # No struct is without members; who reads a table without assets has none.
                continue
            kind = pyarrow.timestamp("us", tz="UTC") if name in times else _type(shape, (name,), texts)
            fields.append(pyarrow.field(name, kind))
        for path in texts:
            if path[0] in _MEMBERS and len(path) <= (2 if path[0] == "assets" else 1):
                raise NotCarried(f"The {path[0]} of the items differ too much from each other to be columns.")
        nulls = sorted(name for name, shape in self._columns.items() if shape.nulls and shape.present == self.items)
        return Table(pyarrow.schema(fields), frozenset(times), tuple(texts), tuple(nulls), tuple(sorted(self._foreign)))


def _place(name: str) -> tuple[int, str]:
    """Members come first, in the order of STAC; properties by name."""
    return (_MEMBERS.index(name), "") if name in _MEMBERS else (len(_MEMBERS), name)


def _type(shape: _Shape, path: tuple[str, ...], texts: list[tuple[str, ...]]) -> Any:
    """The type of a column, or of a place in one; adds the path to `texts` where it can only be JSON text."""
    import pyarrow

    kinds = shape.kinds
    if not kinds:
        return pyarrow.null()
    if kinds == {"text"}:
        return pyarrow.string()
    if kinds == {"bool"}:
        return pyarrow.bool_()
    if kinds == {"int"} and shape.largest < _INT64:
        return pyarrow.int64()
    if kinds == {"float"} or (kinds == {"int", "float"} and shape.largest <= _EXACT):
        return pyarrow.float64()
    if kinds == {"list"}:
        assert shape.elements is not None
        return pyarrow.list_(_type(shape.elements, (*path, _EACH), texts))
    if kinds == {"object"} and 0 < len(shape.members) <= MAX_MEMBERS:
        return pyarrow.struct(
            [(name, _type(member, (*path, name), texts)) for name, member in sorted(shape.members.items())]
        )
    texts.append(path)
    return pyarrow.string()


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of items."""

    #: A pyarrow.Schema.
    schema: Any
    #: Columns of timestamps.
    times: frozenset[str]
    #: Places whose values are JSON text.
    texts: tuple[tuple[str, ...], ...]
    #: Properties that all items have, so that a null in their columns is one.
    nulls: tuple[str, ...]
    #: Columns that are members of items beside STAC's.
    foreign: tuple[str, ...]

    def write(self, path: Path, batches: Iterable[Sequence[Mapping[str, Any]]], collection: Mapping[str, Any]) -> None:
        """Writes items as a file; the same items give the same bytes.

        Args:
            path: where; what is there is overwritten.
            batches: the items that were looked at, at most `ROWS` or so at a time.
            collection: their collection's document, which goes into the file.

        Raises:
            NotCarried: an item is not like those that were looked at, or its geometry is none.
        """
        import pyarrow
        import pyarrow.parquet

        tree, kinds = _tree(self.texts), _Geometries()
        with pyarrow.parquet.ParquetWriter(path, self.schema, compression="zstd") as writer:
            for items in batches:
                rows = [self._row(item, tree) for item in items]
                wkb = kinds.encode([item.get(_GEOMETRY) for item in items])
                for row, geometry in zip(rows, wkb, strict=True):
                    row[_GEOMETRY] = geometry
                try:
                    table = pyarrow.Table.from_pylist(rows, schema=self.schema)
                except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
                    raise NotCarried(f"Items cannot be rows: {' '.join(str(error).split())}.") from error
                writer.write_table(table)
            stac = {"version": _VERSION, "collections": {collection["id"]: collection}}
            ours = {"version": 1, "texts": self.texts, "nulls": self.nulls, "members": self.foreign}
            notes = {_GEO_KEY: kinds.metadata(), _STAC_KEY: stac, _OUR_KEY: ours}
            writer.add_key_value_metadata(
                {name: orjson.dumps(note, option=orjson.OPT_SORT_KEYS).decode() for name, note in notes.items()}
            )

    def _row(self, item: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
        row = {**(item.get("properties") or {}), **item}
        row.pop("properties", None)
        for name in self.times:
            if row.get(name) is not None:
                row[name] = _moment(row[name])
        if (box := row.get(_BBOX)) is not None:
            row[_BBOX] = dict(zip(_SIDES if len(box) == len(_SIDES) else _SIDES_WITH_HEIGHTS, box, strict=True))
        for name, inner in tree.items():
            if name in row:
                row[name] = _at(row[name], inner, _as_text)
        return row


@dataclass(frozen=True, slots=True)
class Compared:
    """What reading a table back gave."""

    #: Items that are as they were.
    same: int
    #: Items that are, but for nulls that are absent and times that are spelled differently.
    alike: int
    #: The id of the first item that came back otherwise; None where there is none.
    other: str | None


def compare(path: Path, batches: Iterable[Sequence[Mapping[str, Any]]]) -> Compared:
    """Reads a file back and compares it with the items that were written, in their order."""
    back = (item for batch in read_items(path) for item in batch)
    same = alike = 0
    for item in (item for batch in batches for item in batch):
        read = next(back, None)
        if read == item:
            same += 1
        elif read is not None and alike_but_for_form(read, item):
            alike += 1
        else:
            return Compared(same, alike, item["id"])
    extra = next(back, None)
    return Compared(same, alike, None if extra is None else extra["id"])


def read_items(path: Path, rows: int = ROWS) -> Iterator[list[dict[str, Any]]]:
    """The items of a stac-geoparquet file, of ours or of another's, in its order.

    Raises:
        NotCarried: it is none.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise NotCarried(f"{path.name} cannot be read as a Parquet file: {' '.join(str(error).split())}.") from error
    with file:
        missing = {"id", _GEOMETRY} - set(file.schema_arrow.names)
        if missing:
            raise NotCarried(f"{path.name} has no column {' and no column '.join(sorted(missing))}.")
        notes = orjson.loads((file.metadata.metadata or {}).get(_OUR_KEY.encode(), b"{}"))
        tree = _tree(tuple(map(tuple, notes.get("texts", ()))))
        nulls, foreign = frozenset(notes.get("nulls", ())), frozenset(notes.get("members", ()))
        for batch in file.iter_batches(batch_size=rows):
            read = batch.to_pylist()
            for row, geometry in zip(read, _decoded([row[_GEOMETRY] for row in read]), strict=True):
                row[_GEOMETRY] = geometry
            yield [_item(row, tree, nulls, foreign) for row in read]


def _item(
    row: dict[str, Any], tree: Mapping[str, Any], nulls: frozenset[str], foreign: frozenset[str]
) -> dict[str, Any]:
    for name, inner in tree.items():
        if name in row:
            row[name] = _at(row[name], inner, orjson.loads)
    item: dict[str, Any] = {"type": "Feature", "stac_extensions": [], "links": [], "assets": {}}
    properties: dict[str, Any] = {}
    for name, value in row.items():
        where = item if name in _RESERVED or name in foreign else properties
        if name == _BBOX and value is not None:
            item[name] = [value[side] for side in value if value[side] is not None]
        elif isinstance(value, datetime):
            where[name] = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        elif value is not None:
            where[name] = _without_nulls(value)
        elif name in nulls or name == _GEOMETRY:
            where[name] = None
    properties.setdefault("datetime", None)
    return {**item, "properties": properties}


def alike_but_for_form(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two items are the same, a null member being as good as none, and a time whichever way it is spelled."""
    return _plain(one) == _plain(other)


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    plain = _without_nulls({**item, "links": kept_links(item)})
    if not plain.get("stac_extensions"):
        plain.pop("stac_extensions", None)
    properties = plain.get("properties")
    if isinstance(properties, dict):
        for name in _TIMES:
            moment = _moment(properties.get(name))
            if moment is not None:
                properties[name] = moment
    return dict(plain)


def _without_nulls(value: Any) -> Any:
    """Without members that are null; nulls in lists stay."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return [_without_nulls(one) for one in value]
    return value


def _moment(value: Any) -> datetime | None:
    """None where it is no time, or one that a column cannot hold."""
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        return None
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _as_text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _tree(paths: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    """Paths as nested dictionaries; an empty one is the place itself."""
    tree: dict[str, Any] = {}
    for path in paths:
        at = tree
        for step in path:
            at = at.setdefault(step, {})
    return tree


def _at(value: Any, tree: Mapping[str, Any], change: Callable[[Any], Any]) -> Any:
    """The value with what stands at the places of the tree changed; null stays null."""
    if value is None:
        return None
    if not tree:
        return change(value)
    if isinstance(value, list):
        return [_at(one, tree[_EACH], change) for one in value]
    return {name: _at(one, tree[name], change) if name in tree else one for name, one in value.items()}


@dataclass(slots=True)
class _Geometries:
    """GeoJSON to WKB, and what GeoParquet's metadata says of all of it."""

    kinds: set[str] = field(default_factory=set)
    bounds: list[float] | None = None

    def encode(self, geometries: Sequence[Any]) -> list[bytes | None]:
        shapely = _shapely()
        texts = [None if one is None else orjson.dumps(one).decode() for one in geometries]
        try:
            shapes = shapely.from_geojson(texts)
        except shapely.errors.GEOSException as error:
            raise NotCarried(f"A geometry cannot be written as WKB: {' '.join(str(error).split())}.") from error
        found = shapes[~shapely.is_missing(shapes)]
        heights = shapely.has_z(found)
        for shape, z in zip(found, heights, strict=True):
            self.kinds.add(f"{shape.geom_type} Z" if z else shape.geom_type)
        if len(found):
            low_x, low_y, high_x, high_y = (float(side) for side in shapely.total_bounds(found))
            if not isnan(low_x):
                west, south, east, north = self.bounds or (low_x, low_y, high_x, high_y)
                self.bounds = [min(west, low_x), min(south, low_y), max(east, high_x), max(north, high_y)]
        return list(shapely.to_wkb(shapes, flavor="iso", byte_order=1))

    def metadata(self) -> dict[str, Any]:
        """Of GeoParquet 1.1; without a reference system it is longitude and latitude, as GeoJSON has them."""
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted(self.kinds),
            "covering": {"bbox": {side: [_BBOX, side] for side in _SIDES}},
        }
        if self.bounds is not None:
            column["bbox"] = self.bounds
        return {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}


def _shapely() -> Any:
    """Its functions on arrays have no types."""
    return import_module("shapely")


def _decoded(wkb: Sequence[bytes | None]) -> list[Any]:
    shapely = _shapely()
    shapes = shapely.from_wkb(list(wkb))
    return [None if text is None else orjson.loads(text) for text in shapely.to_geojson(shapes)]
