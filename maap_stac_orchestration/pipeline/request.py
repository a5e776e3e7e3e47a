"""Jobs that somebody asks for by address: finding their catalogs and taking them on.

Here belongs the way from `s3://` addresses to claimed batches. Not here: what happens to a batch (`ingest`) and asking
people for addresses (`cli`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from maap_stac_orchestration import log_events
from maap_stac_orchestration.discovery.found import CATALOG_NAME, job_of_catalog
from maap_stac_orchestration.dps.output_prefix import find_output_prefix
from maap_stac_orchestration.ledger import discovery
from maap_stac_orchestration.ledger.claims_by_prefix import ClaimedByName, claim_jobs
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import SeenCatalog
from maap_stac_orchestration.pipeline.metrics import tell_claimed, tell_recorded
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import ObjectStore


class NotAnAddress(ValueError):
    """An address cannot name jobs; the message is a sentence for who typed it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to look for jobs."""

    bucket: str
    #: An output prefix, or a folder above several; empty or ending in `/`.
    prefix: str


def parse_address(text: str) -> Address:
    """Reads `s3://bucket/…/catalog.json` or `s3://bucket/folder/`; a catalog, or a folder in a job, means the job.

    Raises:
        NotAnAddress: it is neither.
    """
    bucket, _, key = text.removeprefix("s3://").partition("/")
    if not text.startswith("s3://") or not bucket:
        raise NotAnAddress(f"{text} is not an address in S3. Write s3://bucket/prefix/ or s3://bucket/…/catalog.json.")
    if key.rpartition("/")[2] == CATALOG_NAME:
        output = find_output_prefix(key)
        if output is None:
            raise NotAnAddress(
                f"{text} does not lie in the outputs of a job. Outputs lie in "
                "{username}/dps_output/{algorithm}/{version}/…/YYYY/MM/DD/HH/mm/ss/{microseconds}/."
            )
        return Address(bucket, output.key)
    folder = key if not key or key.endswith("/") else f"{key}/"
    output = find_output_prefix(folder)
    return Address(bucket, folder if output is None else output.key)


def find_catalogs(store: ObjectStore, addresses: Sequence[Address]) -> dict[Address, list[SeenCatalog]]:
    """The catalogs of jobs at or below each address, as S3 has them now.

    Raises:
        StoreUnavailable: a listing could not be had.
    """

    async def find(address: Address) -> list[SeenCatalog]:
        return [
            SeenCatalog(address.bucket, one.key, one.etag, one.size, one.last_modified, one.version_id, "request")
            for one in await store.list(address.bucket, address.prefix)
            if job_of_catalog(one.key) is not None
        ]

    async def find_all() -> list[list[SeenCatalog]]:
        return await asyncio.gather(*(find(address) for address in unique))

    unique = list(dict.fromkeys(addresses))
    return dict(zip(unique, asyncio.run(find_all()), strict=True))


def take_on(conn: Connection, catalogs: Sequence[SeenCatalog], settings: Settings, run_id: str) -> ClaimedByName:
    """Records catalogs and claims their jobs, whether they are due or not; commits.

    Args:
        conn: the ledger's connection.
        catalogs: what was found.
        settings: `lease` and `wait_deadline`.
        run_id: who claims.
    """
    recorded = discovery.record(conn, catalogs)
    places = {(one.bucket, output.key) for one in catalogs if (output := job_of_catalog(one.key)) is not None}
    claimed = claim_jobs(conn, places, run_id=run_id, lease=settings.lease, wait_deadline=settings.wait_deadline)
    conn.commit()
    with log_events.bound(run_id=run_id):
        tell_recorded("request", recorded)
        for batch in claimed.batches:
            tell_claimed(batch, settings)
    return claimed
