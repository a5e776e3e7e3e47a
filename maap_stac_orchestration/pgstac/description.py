"""The STAC Collection document that a new collection begins with.

Here belongs how a collection describes itself before anybody has edited it. Not here: whether it may be created
(`governance`) and creating it (`collections`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maap_stac_orchestration.catalog.schema import core_errors

STAC_VERSION = "1.1.0"

#: What STAC 1.1 says of data whose licence is not known here: look at the links, or ask.
LICENSE = "other"

_MAAP: dict[str, Any] = {"name": "MAAP", "roles": ["processor", "host"], "url": "https://maap-project.org"}

#: Links that say something about the data. The API makes those that hold the catalog together.
_TELLING_LINKS = frozenset({"license", "cite-as", "about", "related", "via", "describedby", "help", "canonical"})

#: What a job's own Collection document does not decide about the collection that is made from it.
_NOT_TAKEN_OVER = frozenset({"id", "type", "stac_version", "extent", "links", "created", "updated"})


@dataclass(frozen=True, slots=True)
class NewCollection:
    """A collection that is created when the first item arrives."""

    id: str
    #: Who it belongs to: the user whose job comes first.
    username: str
    algorithm: str
    #: Empty where jobs of all versions share the collection.
    version: str
    #: None where there is none, or jobs of all tags share the collection.
    tag: str | None
    #: Whether it is the default collection of a group of jobs, which nobody asked for by name.
    default: bool
    #: STAC extent of the items that are about to be loaded.
    extent: Mapping[str, Any]
    #: How the registry wants it created; may be empty.
    creation: Mapping[str, object]
    #: The job's own Collection documents, as candidates for title, description, licence and the like.
    own: Sequence[Mapping[str, Any]] = ()


def collection_document(new: NewCollection, now: str) -> dict[str, Any]:
    """The document, valid STAC 1.1.0.

    A job's own Collection document is used where it is the only one, is meant for this collection (the collection is
    the job's default one, or has the document's id) and gives a valid Collection; else the words are ours.

    Args:
        new: what is known about the collection.
        now: the time that it is created, RFC 3339.
    """
    plain = _plain(new, now)
    if len(new.own) == 1 and (new.default or new.own[0].get("id") == new.id):
        described = _described(plain, new.own[0])
        if not core_errors(described):
            return described
    return plain


def _plain(new: NewCollection, now: str) -> dict[str, Any]:
    what = " ".join(part for part in (new.algorithm, new.version) if part)
    if new.default:
        title = f"{what}, {new.tag} ({new.username})" if new.tag else f"{what} ({new.username})"
        tagged = f" and tagged {new.tag}" if new.tag else ""
        description = (
            f"What the algorithm {what} wrote in jobs run by {new.username}{tagged} on the Data Processing System of "
            "NASA's MAAP. The items ask for no collection of their own, or for one that they may not be in."
        )
    else:
        title = new.id
        description = (
            f"Outputs of jobs on the Data Processing System of NASA's MAAP. The first were written by the algorithm "
            f"{what} and run by {new.username}."
        )
    document: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": new.id,
        "title": title,
        "description": description,
        "keywords": _keywords(new),
        "license": LICENSE,
        "providers": [{"name": new.username, "roles": ["producer"]}, _MAAP],
        "extent": dict(new.extent),
        "links": [],
        "created": now,
        "updated": now,
        "maap:username": new.username,
    }
    if new.default:
        document["maap:algorithm"] = new.algorithm
        if new.version:
            document["maap:algorithm_version"] = new.version
        if new.tag:
            document["maap:tag"] = new.tag
    for field in ("title", "description", "license"):
        wished = new.creation.get(field)
        if isinstance(wished, str) and wished:
            document[field] = wished
    document["keywords"] = _joined(new.creation.get("keywords"), document["keywords"])
    document["providers"] = _mappings(new.creation.get("providers")) or document["providers"]
    return document


def _described(plain: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The job's own words over ours; the keywords of both, so that a search for the user or the tag finds it still."""
    taken = {field: value for field, value in own.items() if field not in _NOT_TAKEN_OVER}
    document = {**plain, **taken}
    document["keywords"] = _joined(own.get("keywords"), plain["keywords"])
    names = {provider.get("name") for provider in _mappings(own.get("providers"))}
    document["providers"] = [
        *_mappings(own.get("providers")),
        *(provider for provider in plain["providers"] if provider["name"] not in names),
    ]
    document["links"] = [link for link in _mappings(own.get("links")) if link.get("rel") in _TELLING_LINKS]
    return document


def _keywords(new: NewCollection) -> list[str]:
    """The names that people search by. The database's parser takes what has a slash in it for a path and finds only
    the whole, so the parts of such a tag stand for themselves too."""
    words = [new.username, new.algorithm]
    if new.default:
        words += [new.version, new.tag or "", *(new.tag or "").split("/")]
    return _joined([word for word in words if word], ["MAAP", "DPS"])


def _joined(first: object, second: Sequence[str]) -> list[str]:
    words = [word for word in first if isinstance(word, str)] if isinstance(first, list) else []
    return list(dict.fromkeys([*words, *second]))


def _mappings(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
