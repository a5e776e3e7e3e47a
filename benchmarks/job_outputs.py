"""Buckets full of job outputs, as the benchmarks ingest them.

Here belongs what the jobs wrote: the demo's documents, as the real algorithm writes them by rio-stac, under other ids,
with an object of a few bytes for each asset. Not here: serving them (`object_server`) and what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

from benchmarks.object_server import Fill

BUCKET = "outputs"
#: The day (UTC) of all jobs.
DAY = date(2026, 3, 5)
_BEGIN = datetime(2026, 3, 5, tzinfo=UTC)
_USERNAME, _ALGORITHM, _VERSION = "benchmark", "HLSCloudFreeTemporalMosaic", "v1.0"


@dataclass(frozen=True, slots=True)
class Outputs:
    """How many jobs wrote how much."""

    jobs: int
    items_per_job: int = 1
    #: Submissions (tags) among which the jobs are divided; each has a collection of its own.
    collections: int = 1

    @property
    def items(self) -> int:
        """Items in all."""
        return self.jobs * self.items_per_job

    @property
    def catalogs(self) -> list[str]:
        """The keys of the jobs' catalogs."""
        return [f"{_prefix(number, self)}catalog.json" for number in range(self.jobs)]

    @property
    def fill(self) -> Fill:
        """What gives the objects to a server."""
        return partial(_objects, self)


def _prefix(job: int, outputs: Outputs) -> str:
    time = _BEGIN + timedelta(milliseconds=50 * job)
    tag = f"tag-{job % outputs.collections:04}"
    return f"{_USERNAME}/dps_output/{_ALGORITHM}/{_VERSION}/{tag}/{time:%Y/%m/%d/%H/%M/%S/%f}/"


def _objects(outputs: Outputs) -> Iterator[tuple[str, bytes]]:
    # Not for who only names the bucket: it takes 20 MiB, which the process that ingests shall not have.
    from maap_stac_orchestration.demo.jobs import demo_jobs
    from maap_stac_orchestration.demo.outputs import documents

    job = demo_jobs()[0]
    files = {file.name: file.data for file in documents(job, _BEGIN)}
    item = next(data.decode() for name, data in files.items() if name.endswith(f"{job.item_id}.json"))
    catalog = json.loads(files["catalog.json"])
    metadata_name = next(name for name in files if name.endswith(".met.json"))
    links = [link for link in catalog["links"] if link["rel"] != "item"]
    assets = [asset["href"] for asset in json.loads(item)["assets"].values()]
    for number in range(outputs.jobs):
        prefix = _prefix(number, outputs)
        tag = prefix.split("/")[4]
        about = {"username": _USERNAME, "algorithm_name": _ALGORITHM, "algorithm_version": _VERSION, "tag": tag}
        yield f"{prefix}{metadata_name}", json.dumps(json.loads(files[metadata_name]) | about).encode()
        ids = [f"{job.item_id}-{number:06}-{one:05}" for one in range(outputs.items_per_job)]
        item_links = [{"rel": "item", "href": f"./{id}/{id}.json", "type": "application/geo+json"} for id in ids]
        yield f"{prefix}catalog.json", json.dumps(catalog | {"links": [*links, *item_links]}).encode()
        for id in ids:
            yield f"{prefix}{id}/{id}.json", item.replace(job.item_id, id).encode()
        for href in assets:
            # Beside the items' folders, as the real algorithm has them.
            yield prefix + href.removeprefix("../"), b"TIFF"
