"""What the page of collections tells: a row for each.

Here belongs the page's view of a list of collections. Not here: how they are found (`pgstac.listing`), whose they are
(`ledger.collections`), one of them in full (`collection`), and the HTML.
"""

from __future__ import annotations

from dataclasses import dataclass

from maap_stac_orchestration.api.pages.collection import collection_page
from maap_stac_orchestration.api.pages.rendering import ROOT, address
from maap_stac_orchestration.pgstac.listing import ListedCollection


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection as the list shows it."""

    id: str
    title: str
    page: str
    owner: str | None
    owner_page: str | None
    jobs_page: str


def collection_row(collection: ListedCollection, owner: str | None, base: str) -> CollectionRow:
    """The row of a collection; `base` is the path under which the application is served."""
    return CollectionRow(
        id=collection.id,
        title=collection.title.strip(),
        page=collection_page(base, collection.id),
        owner=owner,
        owner_page=address(base + ROOT, {"username": owner}) if owner else None,
        jobs_page=address(f"{base}{ROOT}/jobs", {"collection": collection.id}),
    )
