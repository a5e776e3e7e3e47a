"""Users, their collections and their items, as people browse them and as pystac walks them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pystac
import pytest
import requests
import schemathesis
from hypothesis import settings
from psycopg.types.json import Jsonb
from pystac_client import Client
from schemathesis import checks
from schemathesis.config import GenerationConfig
from stac_pydantic.catalog import Catalog
from stac_pydantic.collection import Collection
from stac_pydantic.item import Item

from maap_stac_orchestration.api import catalogs
from maap_stac_orchestration.api.app import create_app
from maap_stac_orchestration.ledger import collections as ledger_collections
from maap_stac_orchestration.pgstac.collections import delete_with_items
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.web.problem_documents import MEDIA_TYPE
from tests.conftest import BUCKET
from tests.integration.api.conftest import Api
from tests.integration.pipeline.batches import Written, document, ingest

LONG = "x" * 200
#: In the order of lists.
USERS = ["a b", "a+b", "Ana", "ana", "catalogs", "eva", "shared", "user?x#y%2F", LONG, "ü", "مرحبا"]
NOBODYS = ["icesat2-boreal-v3.0-agb", "legacy"]
#: Whose name no address can hold.
DOTS = "made-by-dots"
#: Made before this system, of a user who says so in it.
OLDER, OLDER_OWNER = "older-flood-map", "zoe"
ALL_USERS = [*USERS[:9], OLDER_OWNER, *USERS[9:]]


def _collection(id: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": id,
        "description": f"What is in {id}",
        "license": "other",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [{"rel": "license", "href": "https://licence.example/", "type": "text/html"}],
        **more,
    }


def _insert(connection: psycopg.Connection[Any], *documents: dict[str, Any]) -> None:
    for one in documents:
        connection.execute("SELECT pgstac.create_collection(%s)", (Jsonb(one),))


def _fill(database: str) -> None:
    """Jobs of all the users, of which eva has two submissions; collections that were there before."""
    jobs = [
        Written([document(f"item-{number}-{minute}", west=minute) for minute in range(3)], username=name, minute=number)
        for number, name in enumerate(USERS)
    ]
    jobs.append(Written([document("of-another-tag")], username="eva", tag="other", minute=30))
    with psycopg.connect(database) as connection:
        ingest(connection, jobs)
        _insert(
            connection,
            *[_collection(id, title=f"The {id}") for id in NOBODYS],
            _collection(OLDER, **{"maap:username": OLDER_OWNER}),
            _collection(DOTS, **{"maap:username": ".."}),
            # As another application's own extension writes them.
            {"type": "Catalog", "stac_version": "1.1.0", "id": "foreign", "description": "A catalog", "links": []},
        )


@pytest.fixture(scope="module", autouse=True)
def filled(shared_database: str) -> None:
    _fill(shared_database)


@pytest.fixture(scope="module")
def api(shared_api: Api) -> Api:
    return shared_api


@pytest.fixture
def own(database: str, database_env: dict[str, str], start_api: Any) -> Api:
    """An application over a database of the test's own, which it may change."""
    _fill(database)
    return start_api()


def get(url: str, **headers: str) -> Any:
    answer = requests.get(url, headers=headers, timeout=30)
    assert answer.status_code == 200, (url, answer.text)
    return answer.json()


def href(document: Any, rel: str) -> str:
    (found,) = [link["href"] for link in document["links"] if link["rel"] == rel]
    return found


def hrefs(document: Any, rel: str) -> list[str]:
    return [link["href"] for link in document["links"] if link["rel"] == rel]


def catalog(username: str) -> str:
    return f"/catalogs/{quote(username, safe='')}"


def default(username: str, tag: str = "demo") -> str:
    """The default collection of the tests' jobs."""
    return re.sub("[^A-Za-z0-9._-]+", "-", username) + f"__mosaic__v1__{tag}"


def pages(url: str, member: str) -> Iterator[Any]:
    """Every entry of a list, whose pages tell how many there are."""
    total, found = None, 0
    while url:
        page = get(url)
        assert page["numberReturned"] == len(page[member]) > 0
        assert total in (None, page["numberMatched"])
        total = page["numberMatched"]
        yield from page[member]
        found += len(page[member])
        url = next(iter(hrefs(page, "next")), "")
    assert found == total


# People and pystac walk down


def test_below_the_root_stand_users_and_then_what_is_nobodys(api: Api) -> None:
    children = list(Client.open(api.url).get_children())
    assert [child.id for child in children] == [*ALL_USERS, NOBODYS[0], NOBODYS[1], DOTS]
    assert [type(child).__name__ for child in children[-4:]] == ["Client", *["CollectionClient"] * 3]


def test_a_user_is_walked_down_to_their_items(api: Api) -> None:
    root = Client.open(api.url)
    (eva,) = [child for child in root.get_children() if child.id == "eva"]
    assert sorted(child.id for child in eva.get_children()) == [default("eva"), default("eva", "other")]
    other = eva.get_child(default("eva", "other"))
    assert other is not None
    (item,) = other.get_items()
    assert item.id == "of-another-tag"
    # The way back up is the way down.
    assert [item.get_parent().id, other.get_parent().id, eva.get_parent().id] == [other.id, "eva", "maap-stac"]
    assert item.get_self_href() == f"{api.url}/catalogs/eva/collections/{other.id}/items/of-another-tag"


@pytest.mark.parametrize("username", [*ALL_USERS])
def test_pystac_walks_the_catalog_of_any_user(api: Api, username: str) -> None:
    start = pystac.Catalog.from_file(api.url + catalog(username))
    assert (start.id, start.title) == (username, username)
    start.validate()
    walked = [(root.id, len(list(children))) for root, children, _ in start.walk()]
    assert walked[0] == (username, len(walked) - 1)
    assert all(count == 0 for _, count in walked[1:])


def test_every_link_between_documents_leads_to_a_document_that_calls_itself_so(api: Api) -> None:
    seen: dict[str, Any] = {}
    waiting = [f"{api.url}/"]
    while waiting:
        url = waiting.pop()
        if url in seen:
            continue
        seen[url] = found = get(url)
        assert href(found, "self") == url
        assert href(found, "root") == f"{api.url}/"
        for rel in ("child", "parent", "items", "children", "catalogs", "data", "canonical", "collection", "item"):
            waiting += hrefs(found, rel)
        for child in hrefs(found, "child"):
            assert hrefs(get(child), "parent") == [url], child
        for item in found.get("features", ()):
            waiting.append(href(item, "self"))
            assert href(item, "parent") == href(item, "collection") == href(found, "collection")
    documents = list(seen.values())
    assert len({one["id"] for one in documents if one.get("type") == "Catalog"}) == len(ALL_USERS) + 1
    for one in documents:
        # From a user's catalog to their collection, to its items, and from each to where it stands for everyone.
        if "/catalogs/" in href(one, "self") and one.get("type") in ("Collection", "Feature", "FeatureCollection"):
            assert "/catalogs/" not in href(one, "canonical")


def test_what_was_there_before_is_as_it_was(api: Api) -> None:
    root = Client.open(api.url)
    flat = {one.id for one in root.get_collections()}
    assert flat >= {default("eva"), default("eva", "other"), *NOBODYS, OLDER, DOTS}
    assert len(flat) == len(USERS) + 1 + len(NOBODYS) + 2
    assert root.get_collection(default("eva")).get_parent().id == "maap-stac"
    assert [item.id for item in root.search(collections=[default("eva", "other")]).items()] == ["of-another-tag"]
    assert href(get(f"{api.url}/collections/{default('eva')}"), "parent") == f"{api.url}/"
    assert len(list(root.get_items())) == 3 * len(USERS) + 1


def test_the_documents_are_valid_stac(api: Api) -> None:
    eva = f"{api.url}/catalogs/eva"
    Catalog.model_validate(get(eva))
    for one in get(f"{api.url}/catalogs?limit=100")["catalogs"]:
        Catalog.model_validate(one)
    for one in get(f"{eva}/collections")["collections"]:
        Collection.model_validate(one)
    for one in get(f"{eva}/collections/{default('eva')}/items")["features"]:
        Item.model_validate(one)


# Lists and their pages


def test_catalogs_are_listed_a_page_at_a_time(api: Api) -> None:
    found = list(pages(f"{api.url}/catalogs?limit=3", "catalogs"))
    assert [one["id"] for one in found] == ALL_USERS
    assert [one["id"] for one in get(f"{api.url}/catalogs?limit=100")["catalogs"]] == ALL_USERS
    assert len(get(f"{api.url}/catalogs")["catalogs"]) == 10


def test_a_page_that_is_just_full_is_the_last(api: Api) -> None:
    assert not hrefs(get(f"{api.url}/catalogs?limit={len(ALL_USERS)}"), "next")


def test_children_of_the_root_are_listed_a_page_at_a_time(api: Api) -> None:
    found = list(pages(f"{api.url}/children?limit=4", "children"))
    assert [one["id"] for one in found] == [*ALL_USERS, *NOBODYS, DOTS]
    # Each as it is by itself, where the root links to it.
    assert found == [get(child) for child in hrefs(get(api.url), "child")]
    by_type = {
        kind: [one["id"] for one in pages(f"{api.url}/children?limit=2&type={kind}", "children")]
        for kind in ("Catalog", "Collection")
    }
    assert by_type == {"Catalog": ALL_USERS, "Collection": [*NOBODYS, DOTS]}


@pytest.mark.parametrize("member", ["collections", "children"])
def test_collections_of_a_user_are_listed_a_page_at_a_time(api: Api, member: str) -> None:
    found = list(pages(f"{api.url}/catalogs/eva/{member}?limit=1", member))
    assert [one["id"] for one in found] == [default("eva"), default("eva", "other")]
    for one in found:
        assert href(one, "parent") == f"{api.url}/catalogs/eva"
        assert one == get(href(one, "self"))


def test_below_a_user_are_no_further_catalogs(api: Api) -> None:
    assert get(f"{api.url}/catalogs/eva/catalogs")["catalogs"] == []
    assert get(f"{api.url}/catalogs/eva/children?type=Catalog")["children"] == []
    assert len(get(f"{api.url}/catalogs/eva/children?type=Collection")["children"]) == 2


def test_a_document_links_to_a_bounded_number_of_children_and_says_so(api: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr(catalogs, "MOST_CHILD_LINKS", 1)
    for url, member, total in ((api.url, "children", 15), (f"{api.url}/catalogs/eva", "collections", 2)):
        found = get(url)
        assert len(hrefs(found, "child")) == 1
        assert f"The first 1 of {total} " in found["description"]
        assert len(list(pages(f"{url}/{member}?limit=5", member))) == total
    assert get(f"{api.url}/children?limit=6")["children"][5] == get(f"{api.url}/catalogs/eva")


# Names


def test_names_that_differ_in_case_are_two_users(own: Api, database: str) -> None:
    with psycopg.connect(database) as connection:
        _insert(connection, _collection("of-upper", **{"maap:username": "Bob"}))
        _insert(connection, _collection("of-lower", **{"maap:username": "bob"}))
    for name, id in (("Bob", "of-upper"), ("bob", "of-lower")):
        assert [one["id"] for one in get(f"{own.url}/catalogs/{name}/collections")["collections"]] == [id]
    found = [one["id"] for one in pages(f"{own.url}/catalogs?limit=1", "catalogs")]
    assert found == sorted([*ALL_USERS, "Bob", "bob"], key=lambda name: (name.lower().encode(), name.encode()))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "eva/"])
def test_what_belongs_to_a_name_that_no_address_holds_stands_at_the_top(own: Api, database: str, name: str) -> None:
    with psycopg.connect(database) as connection:
        _insert(connection, _collection("odd", **{"maap:username": name}))
    assert "odd" in [one["id"] for one in pages(f"{own.url}/children?type=Collection", "children")]
    assert [one["id"] for one in pages(f"{own.url}/catalogs", "catalogs")] == ALL_USERS


def test_what_the_ledger_says_counts_more_than_what_a_collection_says(own: Api, database: str) -> None:
    with psycopg.connect(database) as connection:
        ledger_collections.transfer(connection, default("eva", "other"), "bob")
    assert [one["id"] for one in get(f"{own.url}/catalogs/bob/collections")["collections"]] == [default("eva", "other")]
    assert [one["id"] for one in get(f"{own.url}/catalogs/eva/collections")["collections"]] == [default("eva")]
    assert requests.get(f"{own.url}/catalogs/eva/collections/{default('eva', 'other')}", timeout=30).status_code == 404


def test_a_deleted_collection_is_gone_and_with_the_last_one_the_catalog(own: Api, database: str) -> None:
    with psycopg.connect(database) as connection:
        for tag, left in (("other", [default("eva")]), ("demo", None)):
            ledger_collections.delete(connection, default("eva", tag), by="eva")
            assert delete_with_items(connection, default("eva", tag))
            connection.commit()
            answer = own.get("/catalogs/eva/collections")
            assert answer.status_code == (404 if left is None else 200)
            assert left is None or [one["id"] for one in answer.json()["collections"]] == left
    assert "eva" not in [one["id"] for one in pages(f"{own.url}/catalogs", "catalogs")]


# Items


def test_items_are_asked_for_as_under_their_collection(api: Api) -> None:
    items = f"{api.url}/catalogs/eva/collections/{default('eva')}/items"
    number = USERS.index("eva")
    assert [one["id"] for one in get(f"{items}?bbox=2.5,0.2,2.8,0.8")["features"]] == [f"item-{number}-2"]
    filtered = get(f"{items}?filter-lang=cql2-text&filter=id='item-{number}-1'")
    assert [one["id"] for one in filtered["features"]] == [f"item-{number}-1"]
    ordered = get(f"{items}?sortby=-id&limit=2")
    assert [one["id"] for one in ordered["features"]] == [f"item-{number}-2", f"item-{number}-1"]
    (second,) = get(href(ordered, "next"))["features"]
    assert second["id"] == f"item-{number}-0"
    assert href(ordered, "next").startswith(items)
    cut = get(f"{items}?fields=id,properties.datetime&limit=1")["features"][0]
    assert "assets" not in cut
    assert href(cut, "self").startswith(f"{items}/")


def test_an_item_is_the_same_by_either_way(api: Api) -> None:
    path = f"/collections/{default('eva', 'other')}/items/of-another-tag"
    here, there = get(f"{api.url}/catalogs/eva{path}"), get(api.url + path)
    assert requests.get(f"{api.url}/catalogs/eva{path}", timeout=30).headers["content-type"] == "application/geo+json"
    assert href(here, "canonical") == href(there, "self") == api.url + path
    assert hrefs(here, "via") == hrefs(there, "via") != []
    assert {**here, "links": 0} == {**there, "links": 0}


def test_a_collection_is_the_same_by_either_way(api: Api) -> None:
    here, there = get(f"{api.url}/catalogs/zoe/collections/{OLDER}"), get(f"{api.url}/collections/{OLDER}")
    assert {**here, "links": 0} == {**there, "links": 0}
    assert hrefs(here, "license") == hrefs(there, "license") == ["https://licence.example/"]
    for rel in ("http://www.opengis.net/def/rel/ogc/1.0/queryables", "canonical"):
        assert get(href(here, rel))


# Who asks wrongly


@pytest.mark.parametrize(
    "path",
    [
        "/catalogs/nobody",
        "/catalogs/EVA",
        "/catalogs/nobody/collections",
        "/catalogs/nobody/children",
        "/catalogs/nobody/children?type=Catalog",
        "/catalogs/nobody/catalogs",
        "/catalogs/nobody/conformance",
        "/catalogs/foreign",
        "/catalogs/%00",
        "/catalogs/%ff",
        "/catalogs/eva%2Fb",
        f"/catalogs/{'x' * 5000}",
        "/catalogs/eva/queryables",
        "/catalogs/eva/search",
        f"/catalogs/EVA/collections/{default('eva')}",
        f"/catalogs/nobody/collections/{NOBODYS[0]}",
        f"/catalogs/eva/collections/{NOBODYS[0]}",
        f"/catalogs/EVA/collections/{default('eva')}/items",
        f"/catalogs/EVA/collections/{default('eva', 'other')}/items/of-another-tag",
        f"/catalogs/eva/collections/{default('eva')}/items/of-another-tag",
        f"/catalogs/eva/collections/{default('eva')}/items/%00",
        "/catalogs/eva/collections/no-such",
        "/catalogs/eva/collections/%00",
    ],
)
def test_what_is_not_there_is_a_problem_document(api: Api, path: str) -> None:
    answer = requests.get(api.url + path, timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (404, MEDIA_TYPE)
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/catalogs?limit=0", "limit"),
        ("/catalogs?limit=1001", "limit"),
        ("/catalogs?limit=many", "limit"),
        ("/catalogs?token=%00", "token"),
        ("/children?token=eva", "token"),
        ("/children?token=Item:eva", "token"),
        ("/children?type=Item", "type"),
        ("/catalogs/eva/children?type=catalog", "type"),
        ("/catalogs/eva/collections?limit=-1", "limit"),
    ],
)
def test_a_parameter_that_is_not_valid_is_named(api: Api, path: str, parameter: str) -> None:
    answer = requests.get(api.url + path, timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (400, MEDIA_TYPE)
    assert [one["parameter"] for one in answer.json()["errors"]] == [parameter]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/catalogs"),
        ("PUT", "/catalogs/eva"),
        ("DELETE", "/catalogs/eva"),
        ("POST", "/catalogs/eva/catalogs"),
        ("POST", "/catalogs/eva/collections"),
        ("PUT", f"/catalogs/eva/collections/{default('eva')}"),
        ("DELETE", f"/catalogs/eva/collections/{default('eva')}"),
    ],
)
def test_catalogs_cannot_be_written(api: Api, method: str, path: str) -> None:
    answer = requests.request(method, api.url + path, json={}, timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (405, MEDIA_TYPE)
    assert get(f"{api.url}/catalogs/eva/collections/{default('eva')}")


# What is announced


def test_what_holds_is_announced(api: Api) -> None:
    for classes in (
        get(api.url)["conformsTo"],
        get(f"{api.url}/conformance")["conformsTo"],
        get(f"{api.url}/catalogs/eva/conformance")["conformsTo"],
        get(f"{api.url}/catalogs/eva")["conformsTo"],
    ):
        assert any(one.endswith("/multi-tenant-catalogs") for one in classes)
        assert any(one.endswith("/children") for one in classes)
        # No catalog is searched or written.
        assert not [one for one in classes if "multi-tenant-catalogs/" in one or one.endswith("browseable")]
    assert href(get(api.url), "catalogs") == f"{api.url}/catalogs"


def test_links_lead_to_the_address_that_a_proxy_names(api: Api) -> None:
    proxy = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "stac.example", "X-Forwarded-Prefix": "/stac"}
    paths = ["/", "/catalogs?limit=1", "/children?limit=1", "/catalogs/eva", "/catalogs/eva/collections?limit=1"]
    collection = f"/catalogs/eva/collections/{default('eva')}"
    for path in [*paths, "/catalogs/eva/children", collection, f"{collection}/items?limit=1"]:
        found = get(api.url + path, **proxy)
        elsewhere = {"license", "via"}
        links = [link for link in found["links"] if link["rel"] not in elsewhere]
        for one in (*found.get("children", ()), *found.get("collections", ()), *found.get("features", ())):
            links += [link for link in one["links"] if link["rel"] not in elsewhere]
        assert {link["href"][: len("https://stac.example/stac/")] for link in links} == {
            "https://stac.example/stac/"
        }, path
    assert href(get(api.url + collection, **proxy), "self") == f"https://stac.example/stac{collection}"


schema = schemathesis.openapi.from_dict(create_app(Settings(buckets=(BUCKET,))).openapi())
schema.config.generation = GenerationConfig(max_examples=8, deterministic=True)


@schema.include(path_regex=r"^/(catalogs|children)(/|$)").parametrize()
@settings(max_examples=8, derandomize=True, database=None, deadline=None)
def test_answers_are_what_the_openapi_document_says(case: Any, api: Api) -> None:
    case.call_and_validate(
        base_url=api.url,
        checks=[checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance],
        timeout=30,
    )
