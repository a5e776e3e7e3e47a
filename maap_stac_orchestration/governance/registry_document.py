"""Entries and registries as the documents that they can be read from again.

Here belongs the way back from entries to the form of the registry file, for exports and for grants that are kept
elsewhere. Not here: what the keys mean (`registry_file`), and writing files (`cli`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from maap_stac_orchestration.governance.entries import Entry, Kind, Reserved
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.governance.registry_file import Team


def entry_document(entry: Entry | Reserved | Team) -> dict[str, Any]:
    """What `read_entry` makes the entry of; keys that would say what holds without them are left out."""
    if isinstance(entry, Team):
        return {"team": entry.name, "users": sorted(entry.members)}
    document: dict[str, Any] = {"collection": entry.pattern.text}
    if isinstance(entry, Reserved):
        return document
    document["users"] = list(entry.users)
    if entry.algorithms:
        document["algorithms"] = [one.text for one in entry.algorithms]
    if entry.create:
        document["create"] = True
    if entry.on_denied is not None:
        document["on_denied"] = str(entry.on_denied)
    if entry.template:
        document["template"] = deepcopy(dict(entry.template))
    return document


def registry_document(registry: Registry) -> dict[str, Any]:
    """The registry in the full form of the file, with `version: 1`.

    Written as JSON (by `json.dumps` as it comes: characters outside ASCII escaped) or as YAML (`yaml.safe_dump`), it is
    a file that decides the same. Its version is another one, since that is the hash of the file. An entry of the flat
    form that names nobody grants nothing and is left out.
    """
    document: dict[str, Any] = {"version": 1}
    if registry.on_denied is not None:
        document["on_denied"] = str(registry.on_denied)
    if registry.reserved:
        document["reserved"] = [one.pattern.text for one in registry.reserved]
    if registry.teams:
        document["teams"] = {team: sorted(members) for team, members in sorted(registry.teams.items())}
    for kind in Kind:
        entries = list(_documents(registry, kind))
        if entries:
            document[kind.value] = entries
    return document


def _documents(registry: Registry, kind: Kind) -> Iterator[dict[str, Any]]:
    return (entry_document(entry) for entry in registry.entries if entry.kind is kind and entry.users)
