"""Patches of STAC documents as HTTP knows them: JSON Merge Patch (RFC 7386) and JSON Patch (RFC 6902).

Here belongs applying one within bounds, and telling which fields somebody touched by it. Not here: whether what comes
out is a good document (`curated`). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import json_merge_patch  # type: ignore[import-untyped]  # it brings no types
import jsonpatch
import orjson

#: Operations of one JSON Patch.
MOST_OPERATIONS: Final = 1_000

# Which link stands where differs between what is stored and what is given out, so numbers of links mean nothing.
_ONE_LINK = re.compile("/links/(?!-$)")


class PatchUnusable(ValueError):
    """A patch that is none, or that cannot be applied to any such document; the message is a sentence."""


class PatchConflict(ValueError):
    """A patch that does not fit to the document as it is now; the message is a sentence."""


class PatchTooLarge(ValueError):
    """What a patch makes of a document is larger than is allowed; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Patched:
    """A document after a patch."""

    document: dict[str, Any]
    #: The names of its top-level fields that the patch speaks of, removed ones too.
    touched: frozenset[str]


def merge_patched(document: Mapping[str, Any], patch: Mapping[str, Any]) -> Patched:
    """Applies a JSON Merge Patch: members replace members of the same name, null removes them; arrays are replaced."""
    merged = json_merge_patch.merge(deepcopy(dict(document)), patch)
    return Patched(merged, frozenset(patch))


def json_patched(document: Mapping[str, Any], operations: Sequence[Any], largest: int) -> Patched:
    """Applies a JSON Patch, all of it or nothing.

    Args:
        document: what it is applied to; stays as it is.
        operations: the patch.
        largest: bytes that the document may have at any moment; each copy may double it.

    Raises:
        PatchUnusable: see there.
        PatchConflict: a test failed, or an operation's path does not exist.
        PatchTooLarge: see there.
    """
    if len(operations) > MOST_OPERATIONS:
        raise PatchUnusable(f"The patch has {len(operations)} operations, and {MOST_OPERATIONS:,} are allowed.")
    touched: set[str] = set()
    patched: Any = deepcopy(dict(document))
    for number, operation in enumerate(operations, start=1):
        touched |= _fields(operation, number)
        try:
            patched = jsonpatch.apply_patch(patched, [operation], in_place=True)
        except jsonpatch.JsonPatchTestFailed as error:
            raise PatchConflict(f"Operation {number} of the patch, a test, failed; nothing was changed.") from error
        except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPointerException) as error:
            raise PatchConflict(
                f"Operation {number} of the patch does not fit to the document as it is: {_clipped(error)}."
            ) from error
        # The library takes the structure of values that a path leads through for granted.
        except (jsonpatch.JsonPatchException, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise PatchUnusable(f"Operation {number} of the patch cannot be applied: {_clipped(error)}.") from error
        if not isinstance(patched, dict):
            raise PatchUnusable(f"Operation {number} of the patch leaves no JSON object.")
        if operation["op"] == "copy":
            _check_size(patched, largest, number)
    whole = "" in touched
    return Patched(patched, frozenset(document.keys() | patched.keys()) if whole else frozenset(touched))


def _fields(operation: Any, number: int) -> set[str]:
    """The top-level fields that an operation speaks of; the empty name stands for the whole document."""
    if not isinstance(operation, Mapping) or not isinstance(operation.get("op"), str):
        raise PatchUnusable(f"Operation {number} of the patch is no object with an op.")
    names = ["path"] if operation["op"] not in ("move", "copy") else ["path", "from"]
    touched = set()
    for name in names:
        path = operation.get(name)
        if not isinstance(path, str):
            raise PatchUnusable(f"Operation {number} of the patch has no {name}.")
        if _ONE_LINK.match(path):
            raise PatchUnusable(
                f"Operation {number} of the patch is about one link. The API adds links of its own, so numbers of "
                "links change; replace /links as a whole, or add to /links/-."
            )
        writes = operation["op"] != "test" and not (name == "from" and operation["op"] == "copy")
        if writes:
            touched.add(path[1:].partition("/")[0].replace("~1", "/").replace("~0", "~"))
    return touched


def _check_size(document: Mapping[str, Any], largest: int, number: int) -> None:
    try:
        size = len(orjson.dumps(document))
    except TypeError as error:
        raise PatchUnusable(f"Operation {number} of the patch nests the document too deeply.") from error
    if size > largest:
        raise PatchTooLarge(f"After operation {number} of the patch the document is larger than {largest:,} bytes.")


def _clipped(error: Exception) -> str:
    text = ascii(str(error))[1:-1].rstrip(".")
    return text if len(text) <= 200 else text[:200] + "…"
