"""A job's own STAC Collection document on its way to describing the collection that its items go to.

Here belongs whether it can be used. Not here: which collection it describes, and what is taken over from it (`pgstac`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from maap_stac_orchestration.catalog.assets import Cleaned, clean_assets, clean_links
from maap_stac_orchestration.catalog.document import NotMigrated, kind_of, migrate, told, unwritable
from maap_stac_orchestration.catalog.hrefs import locate
from maap_stac_orchestration.catalog.identifiers import id_fault
from maap_stac_orchestration.catalog.job_files import JobFiles
from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.problems import Code, Problem

#: Bytes of title, description and keywords together. PostgreSQL keeps at most 1 MB of words with their places, which
#: take up to several times as long as the text; one collection beyond that breaks free-text search for everybody.
LONGEST_WORDS: Final = 100_000

_WORDS = ("title", "description", "keywords")


def words_fault(collection: Mapping[str, Any]) -> str | None:
    """What is wrong with the length of a valid Collection's words, a sentence; None where nothing is."""
    length = len(" ".join(_texts(collection)).encode())
    if length <= LONGEST_WORDS:
        return None
    return (
        f"title, description and keywords take {length:,} bytes together, and {LONGEST_WORDS:,} are allowed; "
        "put long texts at an address and link to it with rel=describedby."
    )


def _texts(collection: Mapping[str, Any]) -> Iterator[str]:
    for field in _WORDS:
        value = collection.get(field)
        yield from [value] if isinstance(value, str) else value or ()


def prepare_collection(
    document: Mapping[str, Any], key: str, files: JobFiles, username: str
) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    """Checks a Collection and makes it ready to use: at STAC 1.1.0, without structural links, asset hrefs absolute.

    Args:
        document: the collection.
        key: its own key.
        files: those of the job.
        username: who the job belongs to.

    Returns:
        The document, or None where it cannot be used, and the problems (`catalog_invalid`, and those of its assets).
    """
    if kind_of(document) != "collection":
        return None, (Problem(Code.CATALOG_INVALID, key, "It is not a STAC Collection."),)
    fault = unwritable(document)
    if fault is None and (unsafe := id_fault(document.get("id"))) is not None:
        fault = f"{unsafe[0].upper()}{unsafe[1:]}."
    if fault is not None:
        return None, told([Problem(Code.CATALOG_INVALID, key, fault)])
    try:
        collection = migrate(document)
    except NotMigrated as error:
        return None, told([Problem(Code.CATALOG_INVALID, key, str(error))])
    errors = core_errors(collection)
    if not errors and (fault := words_fault(collection)) is not None:
        errors = [f"{fault[0].upper()}{fault[1:]}"]
    if errors:
        return None, told([Problem(Code.CATALOG_INVALID, key, " ".join(errors))])
    cleaned = Cleaned()
    # No further bucket is asked for: what describes a collection is served to everybody.
    lead = partial(
        locate,
        key=key,
        files=files,
        username=username,
        readable_buckets=(),
        job_buckets=(),
    )
    collection["links"] = clean_links(collection["links"], lead, cleaned)
    if "assets" in collection:
        collection["assets"] = clean_assets(collection["assets"], key, files, lead, cleaned)
    return collection, told(cleaned.problems)
