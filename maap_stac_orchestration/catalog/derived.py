"""What a collection's items say of the collection: the fields of its document that follow from them, all together.

Here belongs which fields these are, how large they may become, and which extensions they need. Not here: the fields
one by one (`summaries`, `item_assets`, `renders`), the extent, and whose words stand over them (`pgstac.description`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from maap_stac_orchestration.catalog.item_assets import common_assets, item_assets
from maap_stac_orchestration.catalog.renders import EXTENSION as RENDER_EXTENSION
from maap_stac_orchestration.catalog.renders import renders
from maap_stac_orchestration.catalog.summaries import summaries

#: Fields that are the items' alone, unless somebody wrote them.
WHOLE: Final = ("summaries", "item_assets", "renders")
#: Lists that have members of others too.
LISTED: Final = ("stac_extensions", "links")

#: Relations of links that say something about all items at once, where all of them have the link.
_SHARED_RELATIONS: Final = frozenset(
    {
        *("about", "describedby", "documentation", "license", "cite-as", "code"),
        *("processing-software", "processing-expression"),
    }
)
_MOST_LINKS: Final = 10
_LONGEST_HREF: Final = 1_000
_LONGEST_TITLE: Final = 200

_PUBLISHED: Final = re.compile(
    r"https://stac-extensions\.github\.io/([a-z0-9-]{1,40})/v[0-9A-Za-z.-]{1,40}/schema\.json"
)
#: Prefix of a field -> the extension's name, where that is another one.
_NAMES: Final = {"proj": "projection", "sci": "scientific", "sat": "sat", "file": "file"}


def derived(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields that follow from a collection's items: those of `WHOLE` that have something to say, and the members
    that belong into the lists of `LISTED`. Below 64 kB as JSON, whatever the items are.

    Args:
        items: some or all items of one collection; the order makes no difference.
    """
    assets = common_assets(items)
    fields: dict[str, Any] = {
        "summaries": summaries(items),
        "item_assets": item_assets(assets),
        "renders": renders(assets),
    }
    # The extension has them only where the assets that they show are told.
    fields["renders"] = {
        name: one
        for name, one in fields["renders"].items()
        if all(key in fields["item_assets"] for key in one["assets"])
    }
    told = {name: value for name, value in fields.items() if value}
    told["stac_extensions"] = [*_extensions(items, told), *([RENDER_EXTENSION] if "renders" in told else [])]
    told["links"] = _shared_links(items)
    return {name: value for name, value in told.items() if value}


def size(fields: Mapping[str, Any]) -> int:
    """Bytes of fields as JSON."""
    return len(orjson.dumps(fields))


def _extensions(items: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> list[str]:
    """The extensions that the fields told here need, in the version that most items name."""
    wanted = {_NAMES.get(prefix, prefix) for prefix in _prefixes(told)}
    named: dict[str, Counter[str]] = {}
    for item in items:
        for uri in _strings(item.get("stac_extensions")):
            match = _PUBLISHED.fullmatch(uri)
            if match is not None and match[1] in wanted:
                named.setdefault(match[1], Counter())[uri] += 1
    return [max(sorted(counted), key=counted.__getitem__) for _, counted in sorted(named.items())]


def _prefixes(told: Mapping[str, Any]) -> Iterator[str]:
    """What stands before the colon in names of fields; those of the render extension have none."""
    names = [*told.get("summaries", {})]
    for asset in told.get("item_assets", {}).values():
        names += asset
        for bands in asset.values():
            if isinstance(bands, list):
                names += [name for band in bands if isinstance(band, Mapping) for name in band]
    return (name.partition(":")[0] for name in names if ":" in name)


def _shared_links(items: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The links to the web that all items have alike: to the algorithm, a licence, a paper."""
    every = [dict(_telling_links(item)) for item in items]
    if not every:
        return []
    everywhere = set(every[0]).intersection(*every[1:])
    # Where they are called differently, one of the titles, whatever the order of the items.
    return [min((each[key] for each in every), key=orjson.dumps) for key in sorted(everywhere)[:_MOST_LINKS]]


def _telling_links(item: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    links = item.get("links")
    for link in links if isinstance(links, list) else ():
        if not isinstance(link, Mapping):
            continue
        rel, href = link.get("rel"), link.get("href")
        if not isinstance(rel, str) or rel not in _SHARED_RELATIONS or not isinstance(href, str):
            continue
        if href.startswith("https://") and len(href) <= _LONGEST_HREF and href.isprintable():
            said = {name: link[name] for name in ("type", "title") if isinstance(link.get(name), str)}
            short = {name: text for name, text in said.items() if 0 < len(text) <= _LONGEST_TITLE}
            yield (rel, href), {"rel": rel, "href": href, **short}


def _strings(value: object) -> Iterable[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
