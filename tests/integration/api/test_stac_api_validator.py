"""stac-api-validator finds nothing wrong with the STAC API, but for what it gets wrong itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api import small_world
from tests.integration.api.conftest import Api
from tests.shared import published_schemas

WORLD = {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}

#: Complaints of stac-api-validator 0.6.8 that are no faults of an API, each with what it overlooks.
MISTAKEN = [
    # `fields` that is null asks for nothing, as it does where it is left out; no specification wants an error.
    r'POST \S+ params=None body=\{"fields": null\} had unexpected status code 200',
    # The value of an included field that is nested must not be gone where `include` is empty: the comment above the
    # check says "excluded from the default set", and the same request without `include` is asked to have it.
    r"POST \{'fields': \{'exclude': \['geometry'\], 'include': (\[\]|None)\}\} response contained "
    r"'properties.maap:username',",
    # Who includes one nested property gets that and no other five; the same by GET is not asked for them.
    r"POST \{'fields': \{'exclude': \['properties'\], 'include': \['properties.maap:username'\]\}\} response contained "
    r"fewer than 5 fields",
    # Each text is taken apart into its letters before it is looked for among the values that were asked for.
    r"search with Query '\{\"maap:username\": \{\"in\": \[\"ana.lee\", \"nobody\"\]\}\}' had non-matching results: "
    r"got \['ana.lee'(, 'ana.lee')*\]",
]


@pytest.fixture(scope="module")
def api(shared_api: Api, shared_database: str) -> Api:
    small_world.fill(shared_database)
    return shared_api


def validated(api: Api, schemas: Path, **options: Any) -> dict[str, list[str]]:
    """What the validator says; it runs in a process of its own, which reads schemas from a folder."""
    given = {
        "collection": small_world.FLOODS,
        "geometry": json.dumps(WORLD),
        "fields_nested_property": "properties.maap:username",
        "validate_pagination": True,
        "query_config": {
            "query_comparison_field": "eo:cloud_cover",
            "query_eq_value": 12,
            "query_neq_value": 12,
            "query_lt_value": 12,
            "query_lte_value": 12,
            "query_gt_value": 12,
            "query_gte_value": 12,
            "query_substring_field": "maap:username",
            "query_starts_with_value": "ana",
            "query_ends_with_value": "lee",
            "query_contains_value": "a.l",
            "query_in_field": "maap:username",
            "query_in_values": "ana.lee,nobody",
        },
        **options,
    }
    ran = subprocess.run(
        [sys.executable, "-m", "tests.integration.api.validator", api.url, str(schemas)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    told: dict[str, list[str]] = json.loads(ran.stdout)
    return told


def test_core_collections_features_item_search_and_filter_pass(api: Api) -> None:
    classes = ["core", "collections", "features", "features#filter", "item-search", "item-search#filter"]
    assert validated(api, published_schemas(), ccs_to_validate=classes)["errors"] == []


@pytest.mark.parametrize("collection", [small_world.TRACKS, small_world.ISLANDS])
def test_collections_and_items_of_other_kinds_pass(api: Api, collection: str) -> None:
    classes = ["collections", "features", "item-search"]
    told = validated(
        api, published_schemas(), ccs_to_validate=classes, collection=collection, validate_pagination=False
    )
    assert told["errors"] == []


def test_fields_sort_and_query_pass(api: Api) -> None:
    classes = ["item-search#fields", "item-search#sort", "item-search#query"]
    errors = validated(api, published_schemas(), ccs_to_validate=classes)["errors"]
    assert [error for error in errors if not any(re.search(mistake, error) for mistake in MISTAKEN)] == []
    # One that the validator makes no more is to be taken out of the list.
    assert [mistake for mistake in MISTAKEN if not any(re.search(mistake, error) for error in errors)] == []


def test_the_validator_notices_what_is_wrong(api: Api) -> None:
    """Without a collection of that name nearly everything is."""
    told = validated(api, published_schemas(), ccs_to_validate=["collections"], collection="no-such-collection")
    assert any("/collections/no-such-collection" in error for error in told["errors"])
