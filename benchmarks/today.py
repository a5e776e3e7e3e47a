"""What MAAP runs today, modelled: the baseline that ingesting is compared with.

Written from the public description of its two functions (MAAP-Project/maap-eoapi's item generator and
developmentseed/eoapi-cdk's loader). Here belongs the same work on the same bucket and database: jobs one after
another, the sidecar found by listing, pystac walking the links and making hrefs absolute, an object-store client
opened for each read, stac-pydantic, then pypgstac's Loader in batches with a connection for each collection, which is
made when it is missing. Left out in its favour: the queues and topics between, and the second validation behind them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import obstore
import pystac
from obstore.store import S3Store
from pypgstac.db import PgstacDB
from pypgstac.load import Loader, Methods
from pystac.stac_io import DefaultStacIO
from stac_pydantic.item import Item

#: Items that one call of the loader function gets.
BATCH = 500


def ingest(endpoint: str, bucket: str, catalogs: Iterable[str], conninfo: str, *, transform_hrefs: bool = True) -> None:
    """Ingests jobs as today, one after another.

    Args:
        endpoint: where S3 is.
        bucket: the bucket.
        catalogs: the keys of the jobs' catalogs, as events tell them.
        conninfo: the URL of the pgstac database.
        transform_hrefs: pystac's option of that name. By default it looks through all items of a job for each of them,
            hours for a job of tens of thousands; where only memory is measured, it may be left out.
    """
    batch: list[dict[str, Any]] = []
    for key in catalogs:
        for item in _items(endpoint, bucket, key, transform_hrefs):
            batch.append(item)
            if len(batch) == BATCH:
                _load(batch, conninfo)
                batch = []
    if batch:
        _load(batch, conninfo)


def _items(endpoint: str, bucket: str, key: str, transform_hrefs: bool) -> Iterator[dict[str, Any]]:
    prefix = key.removesuffix("catalog.json")
    metadata = _metadata(endpoint, bucket, prefix)
    collection = "__".join(metadata[name] for name in ("username", "algorithm_name", "algorithm_version", "tag"))
    catalog = pystac.Catalog.from_file(f"s3://{bucket}/{key}", stac_io=_OpenedForEachRead(endpoint))
    catalog.make_all_asset_hrefs_absolute()
    for item in catalog.get_items(recursive=True):
        yield Item(**(item.to_dict(transform_hrefs=transform_hrefs) | {"collection": collection})).model_dump(
            mode="json"
        )


def _metadata(endpoint: str, bucket: str, prefix: str) -> dict[str, str]:
    store = _open(endpoint, bucket)
    for listed in obstore.list(store, prefix, chunk_size=10):
        for one in listed:
            if one["path"].endswith("met.json"):
                found: dict[str, str] = json.loads(bytes(obstore.get(store, one["path"]).bytes()))
                return found
    raise LookupError(f"There is no job metadata in {prefix}.")


class _OpenedForEachRead(DefaultStacIO):
    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self._endpoint = endpoint

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        bucket, _, key = str(source).removeprefix("s3://").partition("/")
        return bytes(obstore.get(_open(self._endpoint, bucket), key).bytes()).decode()


def _open(endpoint: str, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id="benchmark",
        secret_access_key="benchmark",
        client_options={"allow_http": True},
    )


def _load(items: list[dict[str, Any]], conninfo: str) -> None:
    by_collection = defaultdict(list)
    for item in items:
        by_collection[item["collection"]].append(item)
    for collection, some in by_collection.items():
        with PgstacDB(dsn=conninfo) as database:
            loader = Loader(db=database)
            there = database.query_one("SELECT count(*) FROM pgstac.collections WHERE id = %s", [collection])
            if not there:
                loader.load_collections(
                    iter([_placeholder(collection)]),
                    insert_mode=Methods.upsert,
                )
            loader.load_items(iter(some), insert_mode=Methods.upsert)


def _placeholder(collection: str) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": collection,
        "description": collection,
        "license": "proprietary",
        "links": [],
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
    }
