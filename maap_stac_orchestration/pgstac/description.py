"""The words of a collection that no person wrote: those it begins with, and those that its owner's jobs bring later.

Here belongs how a collection describes itself, and which of its fields a job may fill. Not here: whether it may be
created (`governance`), whose it is (`ledger`), and writing it (`collections`).
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

#: Fields that say whose outputs these are, and are nobody's words.
_PROVENANCE = "maap:"


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


@dataclass(frozen=True, slots=True)
class Filled:
    """A collection's document after a job's own words were taken over."""

    document: Mapping[str, Any]
    #: Field -> value, of everything in it that was written without a person's doing.
    fields: Mapping[str, Any]
    #: Names of the fields that are other than before; empty where the document is as it was.
    changed: tuple[str, ...]


def collection_document(new: NewCollection, now: str) -> dict[str, Any]:
    """The document that a new collection begins with, valid STAC 1.1.0.

    A job's own Collection document is used where it is the only one, is meant for this collection (the collection is
    the job's default one, or has the document's id) and gives a valid Collection; else the words are ours. What the
    registry says of the collection stands over both.

    Args:
        new: what is known about the collection.
        now: the time that it is created, RFC 3339.
    """
    words = _words(new)
    return {**_frame(new, now), **words, **_from_registry(new.creation, words)}


def automatic_fields(new: NewCollection) -> dict[str, Any]:
    """Those fields of `collection_document` that no person wrote and a later job may fill: without what tells the
    collection's identity, and without what an administrator wrote into the registry."""
    words = _words(new)
    written = _from_registry(new.creation, words)
    return {field: value for field, value in words.items() if field not in written}


def own_document(new: NewCollection) -> Mapping[str, Any] | None:
    """The job's own Collection document that describes this collection, None where there is none or it is not valid;
    see `collection_document`."""
    if len(new.own) != 1 or not (new.default or new.own[0].get("id") == new.id):
        return None
    described = _described(_plain(new), new.own[0])
    return None if core_errors({**_frame(new, _ANY_TIME), **described}) else new.own[0]


def fill(present: Mapping[str, Any], fields: Mapping[str, Any], new: NewCollection, now: str) -> Filled | None:
    """The document with a later job's words in all places that no person has touched.

    A place is untouched where the document says what was last written there without a person's doing, or where
    neither says anything. What the job before said and this one does not goes again, so the outcome hangs on the last
    document alone.

    Args:
        present: the document as it stands in pgstac.
        fields: what of it was written without a person's doing, as it was written.
        new: the collection, with the job's own document; `creation` is not looked at.
        now: the time that becomes `updated` where anything changes, RFC 3339.

    Returns:
        None where the job has no document that describes this collection, or what came out would be no valid
        Collection; then everything stays as it is.
    """
    if own_document(new) is None:
        return None
    words = _words(new)
    document, written, changed = dict(present), dict(fields), []
    for field in sorted(words.keys() | fields.keys()):
        if not _same(present.get(field, _ABSENT), fields.get(field, _ABSENT)):
            continue
        if not _same(present.get(field, _ABSENT), words.get(field, _ABSENT)):
            changed.append(field)
        for where in (document, written):
            where.pop(field, None)
            if field in words:
                where[field] = words[field]
    if not changed:
        return Filled(present, written, ())
    document["updated"] = now
    return None if core_errors(document) else Filled(document, written, tuple(changed))


#: A field that is not there, which is not the same as one that is null.
_ABSENT = object()

#: Whatever stands in `created` and `updated` makes no difference to whether a document is valid.
_ANY_TIME = "2000-01-01T00:00:00Z"


def _same(one: object, other: object) -> bool:
    """Whether two values are the same JSON; the database gives some numbers back in another form."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        try:
            return one == other or float(one) == float(other)
        except OverflowError:
            return False
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def _frame(new: NewCollection, now: str) -> dict[str, Any]:
    """What is nobody's words."""
    document: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": new.id,
        "extent": dict(new.extent),
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
    return document


def _words(new: NewCollection) -> dict[str, Any]:
    """The job's own words where it has some, else ours."""
    plain, own = _plain(new), own_document(new)
    return plain if own is None else _described(plain, own)


def _plain(new: NewCollection) -> dict[str, Any]:
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
    return {
        "stac_extensions": [],
        "title": title,
        "description": description,
        "keywords": _keywords(new),
        "license": LICENSE,
        "providers": [{"name": new.username, "roles": ["producer"]}, _MAAP],
        "links": [],
    }


def _from_registry(creation: Mapping[str, object], words: Mapping[str, Any]) -> dict[str, Any]:
    """What the registry says of the collection; its keywords before ours, so that a search for the user finds it."""
    said: dict[str, Any] = {}
    for field in ("title", "description", "license"):
        wished = creation.get(field)
        if isinstance(wished, str) and wished:
            said[field] = wished
    if creation.get("keywords"):
        said["keywords"] = _joined(creation["keywords"], words["keywords"])
    if providers := _mappings(creation.get("providers")):
        said["providers"] = providers
    return said


def _described(plain: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The job's own words over ours; the keywords of both, so that a search for the user or the tag finds it still."""
    taken = {
        field: value
        for field, value in own.items()
        if field not in _NOT_TAKEN_OVER and not field.startswith(_PROVENANCE)
    }
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
