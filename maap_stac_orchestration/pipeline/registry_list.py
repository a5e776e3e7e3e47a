"""The registry in force as a list for administrators, the same for HTTP and the command line.

Here belongs picking entries for a list and the form in which they leave. Not here: changing entries (`administer`), and
which registry is in force (`registry`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maap_stac_orchestration.governance.selection import Selection, teams_of
from maap_stac_orchestration.ledger import documents
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.documents import Addresses
from maap_stac_orchestration.ledger.registry_entries import StoredEntry
from maap_stac_orchestration.pipeline.administer import ListedEntry, listing, notes_of
from maap_stac_orchestration.pipeline.registry import DATABASE, label_of, registry_in_force
from maap_stac_orchestration.settings import Settings


def picked(entries: Sequence[ListedEntry], selection: Selection) -> list[ListedEntry]:
    """The entries that a selection means, in their order."""
    teams = teams_of(selection.username, [one.document for one in entries if one.kind == "teams"])
    return [one for one in entries if selection.picks(one.kind, one.document, teams)]


def list_document(
    conn: Connection,
    settings: Settings,
    selection: Selection,
    addresses: Addresses,
    links: Sequence[dict[str, str]] = (),
) -> dict[str, Any]:
    """What `GET /registry/grants` and `registry list --json` give.

    Raises:
        RegistryUnavailable: no registry can be put in force.
    """
    found = registry_in_force(settings, conn, write_down=False)
    return {
        "grants": [_listed(one, addresses) for one in picked(listing(conn, settings), selection)],
        "notes": found.registry.notes(),
        "registry_version": found.registry.version,
        "warning": found.warning,
        "links": list(links),
    }


def stored_document(entry: StoredEntry, addresses: Addresses | None = None) -> dict[str, Any]:
    """One entry of the database, in force or not, with what is to be noted about it."""
    document = documents.entry_document(
        id=entry.id,
        kind=entry.kind,
        document=entry.document,
        source=DATABASE,
        by=entry.change.by,
        at=entry.change.at,
        reason=entry.change.reason,
        label=label_of(entry),
        revoked=entry.removed,
        addresses=addresses,
    )
    return {**document, "notes": notes_of(entry)}


def _listed(entry: ListedEntry, addresses: Addresses) -> dict[str, Any]:
    return documents.entry_document(
        id=entry.id,
        kind=entry.kind,
        document=entry.document,
        source=entry.source,
        by=entry.by,
        at=entry.at,
        reason=entry.reason,
        label=entry.label,
        addresses=addresses,
    )
