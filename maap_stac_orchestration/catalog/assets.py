"""What becomes of an item's assets and links: hrefs made absolute, those of a vanished machine mended or left out.

Here belongs the rule for each place that an href can lead to. Not here: telling the places apart (`hrefs`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from maap_stac_orchestration.catalog.hrefs import Place, Target
from maap_stac_orchestration.catalog.job_files import JobFiles
from maap_stac_orchestration.problems import Code, Problem

#: Beside a mended href, what it was before: a repair is on record where the asset is.
ORIGINAL_HREF = "maap:original_href"
#: Links that the API makes itself.
STRUCTURAL_LINKS = frozenset({"self", "root", "parent", "collection", "items", "item", "child"})
#: What a link may begin with. Browsers show links, and `javascript:` is an address too.
LINK_SCHEMES = ("http:", "https:", "s3:", "gs:", "ftp:", "mailto:", "urn:", "doi:")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")

Locate = Callable[[str], Target]


@dataclass(slots=True)
class Cleaned:
    """What cleaning the hrefs of a document gave."""

    problems: list[Problem] = field(default_factory=list)
    #: One sentence for each href that was mended.
    repairs: list[str] = field(default_factory=list)


def clean_assets(
    assets: Mapping[str, Any], about: str, files: JobFiles, locate: Locate, cleaned: Cleaned
) -> dict[str, Any]:
    """The assets with absolute hrefs, without those that lead where nobody should be led.

    Args:
        assets: name -> asset, as the core schema allows.
        about: the id of the item, or what else a problem's object begins with.
        files: the objects of the job.
        locate: where an href leads.
        cleaned: takes the problems and repairs.
    """
    kept: dict[str, Any] = {}
    for name, asset in assets.items():
        clean = _clean_href(asset["href"], f"{about}#{name}", files, locate, cleaned)
        if clean is None:
            continue
        kept[name] = {**asset, **clean}
        alternates = asset.get("alternate")
        if isinstance(alternates, Mapping):
            kept[name]["alternate"] = _clean_alternates(alternates, f"{about}#{name}", files, locate, cleaned)
    return kept


def clean_links(links: list[Any], locate: Locate, cleaned: Cleaned) -> list[Any]:
    """The links without structural ones, relative hrefs made absolute. A link to a machine's own files is left out."""
    kept = []
    for link in links:
        rel, href = link.get("rel"), link.get("href")
        if rel in STRUCTURAL_LINKS or not isinstance(href, str):
            continue
        if not href.startswith("/") and _SCHEME.match(href) is None:
            target = locate(href)
            if target.href:
                kept.append({**link, "href": target.href})
            else:
                cleaned.repairs.append(f"The link {_shown(rel)} to {_shown(href)} was left out, since {target.reason}.")
        elif href.lower().startswith(LINK_SCHEMES):
            kept.append(link)
        else:
            told = f"The link {_shown(rel)} to {_shown(href)} was left out, since nobody else can follow it."
            cleaned.repairs.append(told)
    return kept


def _clean_href(href: str, about: str, files: JobFiles, locate: Locate, cleaned: Cleaned) -> dict[str, str] | None:
    """The fields of an asset that change, the absolute href among them, or None where the asset is to be left out."""
    target = locate(href)
    if target.place is Place.LOCAL:
        return _mended(href, about, files, cleaned)
    if target.place is Place.OUTSIDE:
        cleaned.problems.append(Problem(Code.ASSET_OUTSIDE, about, f"Its href is {_shown(href)}, and {target.reason}."))
        return None
    if target.place is Place.JOB and not files.holds(target.key):
        cleaned.problems.append(Problem(Code.ASSET_MISSING, about, f"Its href leads to {target.href}."))
    elif target.relative and target.place is not Place.JOB:
        detail = f"Its href {_shown(href)} leads out of the job's output folder, to {target.href}."
        cleaned.problems.append(Problem(Code.ASSET_MISSING, about, detail))
    return {"href": target.href}


def _mended(href: str, about: str, files: JobFiles, cleaned: Cleaned) -> dict[str, str] | None:
    """An href of the machine that the job ran on: the one object of that name, where there is exactly one."""
    name = re.split(r"[\\/]", href.rstrip("\\/"))[-1]
    named = files.named(name) or files.named(unquote(name))
    if len(named) == 1:
        mended = f"s3://{files.bucket}/{named[0]}"
        cleaned.repairs.append(f"The href of the asset {about}, {_shown(href)}, was mended to {mended}.")
        return {"href": mended, ORIGINAL_HREF: href}
    found = "no file of the job has that name" if not named else f"{len(named)} files of the job have that name"
    cleaned.problems.append(Problem(Code.ASSET_LOCAL_PATH, about, f"Its href is {_shown(href)}, and {found}."))
    return None


def _clean_alternates(
    alternates: Mapping[str, Any], about: str, files: JobFiles, locate: Locate, cleaned: Cleaned
) -> dict[str, Any]:
    kept = {}
    for name, alternate in alternates.items():
        href = alternate.get("href") if isinstance(alternate, Mapping) else None
        if not isinstance(href, str):
            continue
        clean = _clean_href(href, f"{about}/alternate/{name}", files, locate, cleaned)
        if clean is not None:
            kept[name] = {**alternate, **clean}
    return kept


def _shown(href: str) -> str:
    return href if len(href) <= 200 and href.isprintable() else ascii(href[:200])
