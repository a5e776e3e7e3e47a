"""The words of a collection that no person wrote: those it begins with, those that its owner's jobs bring later, and
those that follow from its items.

Here belongs how a collection describes itself, and which of its fields a job or its items may fill. Not here: whether
it may be created (`governance`), whose it is (`ledger`), what its items say (`catalog.derived`), and writing it
(`collections`).

Of each field a person's word stands over a job's, and a job's over what follows from the items. Whose it is tells what
was noted when it was last written without a person's doing: what a job said or we did, and, apart from that under
`DERIVED`, what followed from the items.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maap_stac_orchestration.catalog.derived import LISTED, WHOLE
from maap_stac_orchestration.catalog.renders import EXTENSION as RENDER_EXTENSION
from maap_stac_orchestration.catalog.schema import core_errors

STAC_VERSION = "1.1.0"

#: What STAC 1.1 says of data whose licence is not known here: look at the links, or ask.
LICENSE = "other"

_MAAP: dict[str, Any] = {"name": "MAAP", "roles": ["processor", "host"], "url": "https://maap-project.org"}

#: Links that say something about the data. The API makes those that hold the catalog together.
_TELLING_LINKS = frozenset(
    {
        *("license", "cite-as", "about", "related", "via", "describedby", "help", "canonical"),
        *("documentation", "code", "source", "derived_from", "processing-software", "processing-expression"),
    }
)

#: What a job's own Collection document does not decide about the collection that is made from it.
_NOT_TAKEN_OVER = frozenset({"id", "type", "stac_version", "extent", "links", "created", "updated"})

#: Fields that say whose outputs these are, and are nobody's words.
_PROVENANCE = "maap:"

#: Where, among what was noted as written without a person's doing, that stands which follows from the items. No job can
#: write a field of this name.
DERIVED = "maap:derived"


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
    noted = _derived(fields)
    document, written, changed = dict(present), dict(fields), []
    for field in sorted((words.keys() | fields.keys()) - {DERIVED}):
        untouched = _untouched_value(field, fields)
        if not _same(present.get(field, _ABSENT), untouched):
            continue
        if field not in words and field not in fields:
            # It follows from the items, and the job says nothing else.
            continue
        value = words.get(field, _ABSENT)
        if field in words:
            written[field] = words[field]
        else:
            written.pop(field, None)
        if field in LISTED and field in noted:
            value = _with_members(words.get(field), noted[field])
        elif field in noted:
            written[DERIVED] = {name: one for name, one in _derived(written).items() if name != field}
        if not _same(present.get(field, _ABSENT), value):
            changed.append(field)
        _put(document, field, value)
    if not _derived(written):
        written.pop(DERIVED, None)
    if not changed:
        return Filled(present, written, ())
    document["updated"] = now
    return None if core_errors(document) else Filled(document, written, tuple(changed))


def derive(present: Mapping[str, Any], fields: Mapping[str, Any], found: Mapping[str, Any], now: str) -> Filled | None:
    """The document with what follows from its items, in all places where neither a person nor a job has said anything.

    Args:
        present: the document as it stands in pgstac.
        fields: what of it was written without a person's doing, as it was written.
        found: what follows from the items as they are now; see `catalog.derived`.
        now: the time that becomes `updated` where anything changes, RFC 3339.

    Returns:
        None where what came out would be no valid Collection, so that everything stays as it is.
    """
    noted = _derived(fields)
    document, changed = dict(present), []
    derived: dict[str, Any] = {}
    for field in WHOLE:
        value = found.get(field, _ABSENT)
        if field == "renders" and "item_assets" not in document:
            # The extension has no renders where the assets that they show are not told.
            value = _ABSENT
        # What a job said stands there, or what was there when a person took the field out.
        if field in fields or not _same(present.get(field, _ABSENT), noted.get(field, _ABSENT)):
            continue
        if value is not _ABSENT:
            derived[field] = value
        if not _same(present.get(field, _ABSENT), value):
            changed.append(field)
            _put(document, field, value)
    for field, members in (("stac_extensions", _needed(found, derived)), ("links", _list(found.get("links")))):
        # Extensions are declared whoever wrote the list, since fields that stand there need them.
        if field != "stac_extensions" and not _same(present.get(field, _ABSENT), _untouched_value(field, fields)):
            continue
        theirs = _without(present.get(field), _without(noted.get(field), fields.get(field)))
        if added := _without(members, theirs):
            derived[field] = added
        if not _same(_list(present.get(field)), [*theirs, *added]):
            changed.append(field)
            _put(document, field, [*theirs, *added])
    written = {**fields, DERIVED: derived}
    if not derived:
        written.pop(DERIVED)
    if not changed:
        return Filled(present, written, ())
    document["updated"] = now
    return None if core_errors(document) else Filled(document, written, tuple(changed))


def written_automatically(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> value as the document has it as long as no person touched it, from what was noted of a collection.

    Args:
        fields: as they were noted; see `Filled.fields`.
    """
    names = (fields.keys() | _derived(fields).keys()) - {DERIVED}
    return {name: _untouched_value(name, fields) for name in sorted(names)}


def derived_untouched(
    fields: Mapping[str, Any], document: Mapping[str, Any], touched: Collection[str]
) -> dict[str, Any]:
    """What still counts as following from the items once a person wrote a document; empty or under `DERIVED`.

    Args:
        fields: what was noted before.
        document: as the person wrote it.
        touched: the fields that they wrote or took out.
    """
    kept = {name: value for name, value in _derived(fields).items() if name in document and name not in touched}
    return {DERIVED: kept} if kept else {}


def whose(present: Mapping[str, Any], fields: Mapping[str, Any], field: str) -> str:
    """Who wrote a field of a collection: `items`, `job` or `person`. What we write where nobody says anything counts as
    a job's; it is one of the kind that jobs may replace."""
    if not _same(present.get(field, _ABSENT), _untouched_value(field, fields)):
        return "person"
    return "job" if field in fields else "items"


def _derived(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    noted = fields.get(DERIVED)
    return noted if isinstance(noted, Mapping) else {}


def _untouched_value(field: str, fields: Mapping[str, Any]) -> Any:
    """What the document says in a field that no person touched."""
    noted = _derived(fields)
    if field in LISTED and field in noted:
        return _with_members(fields.get(field), noted[field])
    return fields.get(field, noted.get(field, _ABSENT))


def _needed(found: Mapping[str, Any], derived: Mapping[str, Any]) -> list[Any]:
    """The extensions that derived fields need, where any of them stands in the document."""
    needed = _list(found.get("stac_extensions")) if derived else []
    return needed if "renders" in derived else _without(needed, [RENDER_EXTENSION])


def _with_members(members: object, more: object) -> list[Any]:
    first = _list(members)
    return [*first, *_without(more, first)]


def _without(members: object, others: object) -> list[Any]:
    left_out = _list(others)
    return [one for one in _list(members) if one not in left_out]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _put(document: dict[str, Any], field: str, value: Any) -> None:
    if value is _ABSENT:
        document.pop(field, None)
    else:
        document[field] = value


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
