"""One STAC Item on its way from a job's output to what is written: every check, in order, and the cleaned document.

Here belongs the order of the checks and what becomes of an item that fails one. Not here: the checks themselves
(`identifiers`, `datetimes`, `geometry`, `assets`, `schema`) and what is added for lineage (`provenance`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from maap_stac_orchestration.catalog.assets import Cleaned, clean_assets, clean_links
from maap_stac_orchestration.catalog.datetimes import read_times
from maap_stac_orchestration.catalog.document import NotMigrated, kind_of, migrate, printable, told, unwritable
from maap_stac_orchestration.catalog.geometry import geometry_faults
from maap_stac_orchestration.catalog.hrefs import locate
from maap_stac_orchestration.catalog.identifiers import id_fault
from maap_stac_orchestration.catalog.job_files import JobFiles
from maap_stac_orchestration.catalog.schema import ExtensionSchemas, core_errors
from maap_stac_orchestration.problems import Code, Problem

__all__ = ["JobFiles", "PreparedItem", "prepare_item"]


#: Stand in for what was looked at already, closer than the core schema does, so that it tells of the rest only.
_SOME_GEOMETRY = {"type": "Point", "coordinates": [0.0, 0.0]}
_SOME_BBOX = [0.0, 0.0, 0.0, 0.0]
_SOME_TIME = "2000-01-01T00:00:00Z"
_RANGE = ("start_datetime", "end_datetime")


@dataclass(frozen=True, slots=True)
class PreparedItem:
    """What checking an item gave."""

    #: The item at STAC 1.1.0 with absolute hrefs, without `collection` and structural links; None where it is refused.
    document: dict[str, Any] | None
    #: The collection id that the item carried; None where it carried none (absent, null or empty).
    requested_collection: str | None
    #: Errors where it is refused, and warnings.
    problems: tuple[Problem, ...] = ()
    #: One sentence for each thing that was mended: hrefs of the machine that the job ran on, times made UTC.
    repairs: tuple[str, ...] = ()


def prepare_item(
    document: Mapping[str, Any],
    *,
    key: str,
    files: JobFiles,
    username: str,
    readable_buckets: Collection[str],
    job_buckets: Collection[str],
    schemas: ExtensionSchemas | None,
) -> PreparedItem:
    """Checks an item and makes it ready to write; the input stays as it is.

    An item may name a collection without linking to one, which the core schema forbids: both go, and the id was never
    more than a request. Everything else of the core holds.

    Args:
        document: the item as it was read.
        key: the object key that it was read from, in `files.bucket`; relative hrefs count from it.
        files: the objects of the job.
        username: who the job belongs to.
        readable_buckets: further buckets that asset hrefs may point into.
        job_buckets: the buckets that hold DPS outputs; in them only the user's own keys and `shared/` are allowed.
        schemas: extension schemas; None checks no extensions.
    """
    if kind_of(document) != "item":
        return _refused(None, Problem(Code.ITEM_INVALID, key, "Its type is not Feature, so it is not a STAC Item."))
    about, requested = document.get("id"), document.get("collection")
    unwritten = unwritable(document)
    fault = id_fault(about)
    if fault is not None or not isinstance(about, str):
        shown = about if isinstance(about, str) and about.isprintable() and about.strip() else key
        detail = f"It stands in {key}, and {fault}."
        # What cannot be written is not handed on either: a request may hold a NUL as well.
        return _refused(None if unwritten else requested, Problem(Code.ITEM_ID_UNSAFE, shown[:1000], detail))
    if unwritten is not None:
        return _refused(None, Problem(Code.ITEM_INVALID, about, unwritten))
    if requested is not None and not isinstance(requested, str):
        return _refused(None, Problem(Code.ITEM_INVALID, about, "Its collection is not a text."))
    try:
        item = migrate(document)
    except NotMigrated as error:
        return _refused(requested, Problem(Code.ITEM_INVALID, about, str(error)))
    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        return _refused(requested, Problem(Code.ITEM_INVALID, about, "Its properties are missing, or are no object."))
    item.pop("collection", None)
    if isinstance(links := item.get("links"), list):
        item["links"] = [one for one in links if not (isinstance(one, Mapping) and one.get("rel") == "collection")]

    times = read_times(properties)
    item["properties"] = properties = {**properties, **times.mended}
    faults = geometry_faults(item.get("geometry"), item.get("bbox"))
    problems = []
    if times.faults:
        problems.append(Problem(Code.DATETIME_INVALID, about, f"Its {'; '.join(times.faults)}."))
    if faults:
        problems.append(Problem(Code.GEOMETRY_INVALID, about, _sentence(faults)))
    checked = {**item, "geometry": _SOME_GEOMETRY, "bbox": _SOME_BBOX}
    if times.faults:
        checked["properties"] = {**properties, "datetime": _SOME_TIME, **dict.fromkeys(_RANGE, _SOME_TIME)}
    errors = core_errors(checked)
    if errors:
        problems.append(Problem(Code.ITEM_INVALID, about, " ".join(errors)))
    if problems:
        return _refused(requested, *problems)

    cleaned = Cleaned()
    lead = partial(
        locate,
        key=key,
        files=files,
        username=username,
        readable_buckets=readable_buckets,
        job_buckets=job_buckets,
    )
    item["assets"] = clean_assets(item["assets"], about, files, lead, cleaned)
    item["links"] = clean_links(item["links"], lead, cleaned)
    if schemas is not None:
        cleaned.problems += _extension_problems(document, about, schemas)
    mended = [f"The {field} of the item {about} was written as {text}." for field, text in times.mended.items()]
    repairs = tuple(printable(one) for one in (*mended, *cleaned.repairs))
    return PreparedItem(item, requested or None, told(cleaned.problems), repairs)


def _extension_problems(document: Mapping[str, Any], about: str, schemas: ExtensionSchemas) -> list[Problem]:
    """What the extensions that an item names find in it. In the versions that it names, so it is checked as it came."""
    problems = []
    for found in schemas.check(document):
        if found.unavailable is not None:
            detail = f"Of {found.uri}: {found.unavailable}."
            problems.append(Problem(Code.SCHEMA_UNAVAILABLE, about, detail))
        else:
            problems.append(Problem(Code.SCHEMA_INVALID, about, f"By {found.uri}: {' '.join(found.errors)}"))
    return problems


def _refused(requested: Any, *problems: Problem) -> PreparedItem:
    return PreparedItem(None, requested if isinstance(requested, str) and requested else None, told(problems))


def _sentence(clauses: Collection[str]) -> str:
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."
