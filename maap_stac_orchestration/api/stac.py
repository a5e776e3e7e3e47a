"""The STAC API of stac-fastapi-pgstac, put together: for reading, and with transactions of collections alone.

Here belongs which extensions the STAC API has and what it calls itself. Not here: our own routes (`jobs`, `health`),
and how collections are changed (`collection_transactions`).
"""

from __future__ import annotations

from typing import cast

from fastapi import FastAPI
from stac_fastapi.api.app import StacApi
from stac_fastapi.api.models import (
    ItemCollectionUri,
    create_get_request_model,
    create_post_request_model,
    create_request_model,
)
from stac_fastapi.extensions.query import QueryConformanceClasses
from stac_fastapi.pgstac.config import Settings as StacSettings
from stac_fastapi.pgstac.models.extensions import Extensions
from stac_fastapi.pgstac.types.search import PgstacSearch
from stac_fastapi.types.search import APIRequest

import maap_stac_orchestration
from maap_stac_orchestration.api.authentication import Authentication
from maap_stac_orchestration.api.catalogs import BrowsableClient, CatalogsOfUsers
from maap_stac_orchestration.api.client import ObjectSearch
from maap_stac_orchestration.api.collection_transactions import CollectionTransactions
from maap_stac_orchestration.api.query_extension import EveryOperator
from maap_stac_orchestration.settings import Settings

TITLE = "MAAP STAC"
DESCRIPTION = "Outputs of jobs of NASA's Multi-Mission Algorithm and Analysis Platform, from catalog.json to search."

#: What pystac-client 0.9 looks for before it sorts; the API itself announces 1.1.0 only, which is asked the same way.
_SORT_1_0 = "https://api.stacspec.org/v1.0.0/item-search#sort"


class ReadingStacApi(StacApi):
    """The STAC API without the health routes that come with it: ours look at more than one part."""

    def add_health_check(self) -> None:
        """Adds nothing; see `health`."""


def stac_settings() -> StacSettings:
    """What the STAC API calls itself. Variables of its own (`CORS_ORIGINS`, …) are still read from the environment."""
    return StacSettings(
        _env_file=None,
        stac_fastapi_title=TITLE,
        stac_fastapi_description=DESCRIPTION,
        stac_fastapi_landing_id="maap-stac",
        stac_fastapi_version=maap_stac_orchestration.__version__,
        # `PublicAddress` knows it, and tells it with each request.
        root_path="",
        enable_transactions_extensions=False,
        enable_catalogs_extension=False,
        enabled_extensions=None,
    )


def add_stac_api(app: FastAPI, settings: StacSettings, configured: Settings, authentication: Authentication) -> None:
    """Adds the STAC API at `/`: core, features, item search and collection search with free text, filter, sort,
    fields, query and paging, and transactions of collections.

    Args:
        app: the application.
        settings: what the STAC API calls itself.
        configured: our own settings.
        authentication: who may change collections is asked here.
    """
    extensions = Extensions(
        settings=settings,
        search_map={"query": EveryOperator()},
        item_collection_map={"query": EveryOperator(conformance_classes=[QueryConformanceClasses.ITEMS])},
        collection_search_map={"query": EveryOperator(conformance_classes=[QueryConformanceClasses.COLLECTIONS])},
    )
    sort = extensions.search_map["sort"]
    sort.conformance_classes = [*sort.conformance_classes, _SORT_1_0]
    collection_search = extensions.collection_search
    assert collection_search is not None
    post_model = cast("type[PgstacSearch]", create_post_request_model(extensions.search, base_model=ObjectSearch))
    items_model = create_request_model(
        model_name="ItemCollectionUri",
        base_model=ItemCollectionUri,
        extensions=extensions.item_collection,
        request_type="GET",
    )
    # Title and description come from the settings, the id does not.
    client = BrowsableClient(
        pgstac_search_model=post_model,
        landing_page_id=settings.stac_fastapi_landing_id,
        tiler_url=configured.tiler_url,
        algorithm_url=configured.algorithm_url,
    )
    transactions = CollectionTransactions(configured, settings, authentication, client)
    catalogs = CatalogsOfUsers(client, extensions.item_collection)
    ReadingStacApi(
        app=app,
        settings=settings,
        extensions=[*extensions.search, *extensions.item_collection, collection_search, transactions, catalogs],
        client=client,
        items_get_request_model=cast("type[APIRequest]", items_model),
        search_get_request_model=create_get_request_model(extensions.search),
        search_post_request_model=post_model,
        collections_get_request_model=collection_search.GET,
        # Errors and middlewares are the application's own.
        exceptions={},
        middlewares=[],
    )
