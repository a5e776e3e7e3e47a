"""Where an item comes from, written into the item itself, and the hash that tells whether anything changed.

Here belongs what an item says about its own making. Not here: the fuller record of that, which the ledger keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from maap_stac_orchestration.dps.job import Job

PREFIX = "maap:"
RUN_ID = "maap:run_id"
#: What the item's job wrote otherwise, one sentence each; absent where nothing was mended.
REPAIRS = "maap:repairs"
SOFTWARE = "processing:software"
#: What names `processing:software`; any version of it that an item has already is left as it is.
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
_PROCESSING_STEM = "https://stac-extensions.github.io/processing/"
_GEOJSON = "application/geo+json"


def with_provenance(
    document: Mapping[str, Any],
    *,
    collection: str,
    job: Job,
    source_key: str,
    run_id: str,
    repairs: Sequence[str] = (),
) -> dict[str, Any]:
    """The item with its collection, the `maap:` properties, `processing:software` and a `via` link to its source.

    Whatever a document says under `maap:` itself is dropped: who wrote an item is not for the item to say.

    Args:
        document: the item as it passed the checks.
        collection: the id of the collection that it goes to.
        job: who wrote it.
        source_key: the object key that it was read from, in the job's bucket.
        run_id: the run that writes it.
        repairs: what was mended in it, a sentence each.
    """
    properties = {name: value for name, value in document.get("properties", {}).items() if not name.startswith(PREFIX)}
    properties["maap:username"] = job.username
    properties["maap:algorithm"] = job.algorithm
    properties["maap:algorithm_version"] = job.version
    properties["maap:tag"] = job.tag
    properties["maap:job_time"] = job.time.isoformat(timespec="microseconds").replace("+00:00", "Z")
    properties["maap:job_prefix"] = job.prefix.key
    properties[RUN_ID] = run_id
    if repairs:
        properties[REPAIRS] = list(repairs)
    extensions = list(document.get("stac_extensions") or ())
    if SOFTWARE not in properties:
        properties[SOFTWARE] = {job.algorithm: job.version}
        if not any(isinstance(one, str) and one.startswith(_PROCESSING_STEM) for one in extensions):
            extensions.append(PROCESSING)
    source = f"s3://{job.bucket}/{source_key}"
    links = [
        link
        for link in document.get("links", ())
        if not (isinstance(link, Mapping) and link.get("rel") == "via" and link.get("href") == source)
    ]
    links.append({"rel": "via", "href": source, "type": _GEOJSON, "title": "The item as the job wrote it"})
    return {
        **document,
        "collection": collection,
        "properties": properties,
        "stac_extensions": extensions,
        "links": links,
    }


def content_hash(document: Mapping[str, Any]) -> str:
    """SHA-256, hex, of a document without `maap:run_id` and `collection`.

    The same content of another run, or in another collection, has the same hash: the ledger keeps it under the
    collection, and items are moved between collections.
    """
    document = {name: one for name, one in document.items() if name != "collection"}
    properties = document.get("properties")
    if isinstance(properties, Mapping) and RUN_ID in properties:
        document["properties"] = {name: one for name, one in properties.items() if name != RUN_ID}
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
