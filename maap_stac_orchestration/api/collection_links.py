"""Links that a collection is served with: to pages about it and its jobs, its algorithm, mosaic and licence.

Here belongs which links these are. They are made for each answer and never stored, since addresses of services change.
Not here: links that hold the catalog together, which stac-fastapi makes, and those that follow from items
(`catalog.derived`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urljoin

from maap_stac_orchestration.api.pages.tiles import Tiler, rendering
from maap_stac_orchestration.catalog.curated import SERVED

#: SPDX identifier -> the text of the licence, at those who publish it.
_LICENSES: Final = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "CC-BY-NC-SA-4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "MIT": "https://opensource.org/license/mit",
    "ODbL-1.0": "https://opendatacommons.org/licenses/odbl/1-0/",
    "PDDL-1.0": "https://opendatacommons.org/licenses/pddl/1-0/",
}


def served_links(
    collection: Mapping[str, Any], base: str, *, tiler: str | None, algorithm: str | None
) -> list[dict[str, Any]]:
    """The links that are added to a collection in an answer; each carries a mark, by which it is known when a client
    sends it back.

    Args:
        collection: the document as it is served.
        base: the base URL of the request, with a slash at its end.
        tiler: where people reach the tiler, None where there is none.
        algorithm: where people read about an algorithm, with `{algorithm}` and `{version}` in it; None where nowhere.
    """
    links = [
        *_pages(collection, base),
        *_algorithm(collection, algorithm),
        *_mosaic(collection, tiler),
        *_license(collection),
    ]
    return [{**link, SERVED: True} for link in links]


def _pages(collection: Mapping[str, Any], base: str) -> Iterator[dict[str, str]]:
    yield {
        "rel": "related",
        "type": "text/html",
        "title": "The collection on the status pages, with a map",
        "href": urljoin(base, f"status/collections/{quote(collection['id'], safe='')}"),
    }
    names = {
        name: collection.get(f"maap:{member}")
        for name, member in (
            ("username", "username"),
            ("algorithm", "algorithm"),
            ("version", "algorithm_version"),
            ("tag", "tag"),
        )
    }
    group = {name: value for name, value in names.items() if isinstance(value, str) and value}
    if group.keys() >= {"username", "algorithm"}:
        yield {
            "rel": "via",
            "type": "text/html",
            "title": "The jobs that wrote its items, and how they ended",
            "href": urljoin(base, f"status/jobs?{urlencode(group)}"),
        }


def _algorithm(collection: Mapping[str, Any], address: str | None) -> Iterator[dict[str, str]]:
    """By the relation of the processing extension; nothing for collections that several algorithms share."""
    name, version = collection.get("maap:algorithm"), collection.get("maap:algorithm_version")
    if address is None or not isinstance(name, str) or not name or ("{version}" in address and not version):
        return
    version = version if isinstance(version, str) else ""
    yield {
        "rel": "processing-software",
        "type": "text/html",
        "title": " ".join(part for part in ("The algorithm", name, version) if part),
        "href": address.replace("{algorithm}", quote(name, safe="")).replace("{version}", quote(version, safe="")),
    }


def _mosaic(collection: Mapping[str, Any], tiler: str | None) -> Iterator[dict[str, str]]:
    shown = rendering(collection)
    if tiler is None or shown is None:
        return
    addresses = Tiler(tiler)
    yield {
        "rel": "xyz",
        "type": "image/png",
        "title": f"{shown.title}: mosaic of the newest items",
        "href": addresses.tiles(collection["id"], shown),
    }
    yield {
        "rel": "tilejson",
        "type": "application/json",
        "title": f"{shown.title}: mosaic as TileJSON",
        "href": addresses.tilejson(collection["id"], shown),
    }


def _license(collection: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    license = collection.get("license")
    links = collection.get("links") or ()
    if isinstance(license, str) and license in _LICENSES and not any(link.get("rel") == "license" for link in links):
        yield {"rel": "license", "type": "text/html", "title": license, "href": _LICENSES[license]}
