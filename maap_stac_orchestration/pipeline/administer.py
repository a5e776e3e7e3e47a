"""Changing the registry that the database keeps: granting, denying, revoking, teams, reserved patterns, whole files.

Here belongs what is checked before a change, and that it is written down with who, when and why. Not here: what entries
mean (`governance`), SQL (`ledger.registry_entries`), and who may change the registry (`api`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg

from maap_stac_orchestration import log_events
from maap_stac_orchestration.governance.entries import Entry
from maap_stac_orchestration.governance.registry import Registry, RegistryError, load_registry
from maap_stac_orchestration.governance.registry_document import entry_document
from maap_stac_orchestration.governance.registry_file import EntryError, EntryKind, Team, read_entry
from maap_stac_orchestration.ledger import changes, registry_entries
from maap_stac_orchestration.ledger.changes import Action, Author
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.registry_entries import StoredEntry
from maap_stac_orchestration.log_events import Event
from maap_stac_orchestration.pipeline.registry import (
    DATABASE,
    RegistryUnavailable,
    canonical,
    file_part,
    label_of,
    registry_of_entries,
    subject_of,
    together,
)
from maap_stac_orchestration.settings import Settings

#: How an entry is called that is not in force yet.
_NEW = {"grants": "The grant", "deny": "The denial", "teams": "The team", "reserved": "The reserved pattern"}

#: Entries that a sentence names.
_SHOWN = 5


class Refused(Exception):
    """A change of the registry cannot be made, and nothing was changed; the message says why and what to do."""


class NoSuchEntry(Refused):
    """What is to be taken out of force is not in force; the message says what there is or was."""


class AlreadyThere(Refused):
    """An entry that says the same is in force already; the message names it."""


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry in force, of the file or of the database."""

    #: Its number in the database; None for one of the file.
    id: int | None
    kind: EntryKind
    #: As in the registry file; a team is {"team": name, "users": [...]}, a reserved pattern {"collection": pattern}.
    document: Mapping[str, Any]
    #: The path or address of the file, or "the database".
    source: str
    #: Who added it, when and why; None for an entry of the file, whose history is the file's own.
    by: str | None
    at: datetime | None
    reason: str | None
    #: How rules name it.
    label: str


@dataclass(frozen=True, slots=True)
class Addition:
    """An entry of a file that is taken over."""

    kind: EntryKind
    #: As it stands in the database then.
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """What taking over a file did, or would do."""

    added: tuple[Addition, ...]
    #: What was not added, because an entry in the database says the same.
    skipped: tuple[Addition, ...]
    #: Sentences for who imports: what is not taken over, and what does less than it seems to.
    notes: tuple[str, ...]
    #: The number of the change in the audit trail; None where nothing was changed.
    change: int | None


def grant(
    conn: Connection, settings: Settings, kind: Literal["grants", "deny"], document: Mapping[str, Any], author: Author
) -> StoredEntry:
    """Brings an entry that allows (`grants`) or forbids (`deny`) into force; commits.

    Args:
        conn: the ledger's connection, with nothing pending.
        settings: `registry`, because the entry must go together with the file.
        kind: which of the two.
        document: the entry as it would stand in the file: collection, users, algorithms, create, on_denied, template.
        author: who, through which door, why.

    Raises:
        AlreadyThere: an entry of the database says the same.
        Refused: the entry cannot be used.
    """
    if kind not in ("grants", "deny"):
        raise Refused(f"{kind!r} is not a kind of entry that allows or forbids; there are grants and deny.")
    return _add(conn, settings, kind, document, author, Action.GRANT)


def reserve(conn: Connection, settings: Settings, pattern: str, author: Author) -> StoredEntry:
    """Reserves an id, or a prefix with its `*`: nobody may choose such an id without an exact grant; commits.

    Raises:
        AlreadyThere: it is reserved in the database already.
        Refused: the pattern cannot be used.
    """
    return _add(conn, settings, "reserved", {"collection": pattern}, author, Action.RESERVE)


def set_team(conn: Connection, settings: Settings, team: str, users: Sequence[str], author: Author) -> StoredEntry:
    """Says who is in a team, in place of whoever was before; commits.

    Args:
        conn: the ledger's connection, with nothing pending.
        settings: `registry`; a team is defined there or in the database, not in both.
        team: its name, without `@`.
        users: all its members; none is allowed, then entries that name the team name nobody by it.
        author: who, through which door, why.

    Raises:
        AlreadyThere: these are its members.
        Refused: a name cannot be used, or the team is defined in the file.
    """
    with _changing(conn, settings, author) as file:
        read = _read("teams", {"team": team, "users": list(users)}, ())
        if file is not None and team in file.teams:
            raise Refused(f"The team {team} is defined in {file.source}; change its members there.")
        new = entry_document(read)
        old = next((one for one in registry_entries.in_force(conn) if one.document.get("team") == team), None)
        if old is not None and old.document == new:
            raise AlreadyThere(f"{_capital(label_of(old))} has these members already.")
        detail = {"before": None if old is None else old.document["users"], "after": new["users"]}
        change = changes.record(conn, Action.TEAM, team, author, detail)
        if old is not None:
            registry_entries.remove(conn, [old.id], change)
        added = _stored(conn, registry_entries.add(conn, "teams", new, change))
        _check(conn, file)
    _tell(added.change)
    return added


def revoke(conn: Connection, settings: Settings, entry: int | str, author: Author) -> StoredEntry:
    """Takes an entry of the database out of force; commits. Gives the entry with the change that removed it.

    Args:
        conn: the ledger's connection, with nothing pending.
        settings: `registry`; entries of the file are not revoked here.
        entry: its number, or what it is about where only one entry is about that: a pattern, or `@team`.
        author: who, through which door, why.

    Raises:
        NoSuchEntry: it is not in force in the database.
        Refused: several entries are meant, or what remains does not go together, since others name the team.
    """
    with _changing(conn, settings, author) as file:
        there = registry_entries.in_force(conn)
        old = _meant(conn, there, file, entry)
        whole_before = _is_whole(file, there)
        detail = {"entry": old.id, "kind": old.kind, "document": dict(old.document)}
        change = changes.record(conn, Action.REVOKE, subject_of(old.document), author, detail)
        registry_entries.remove(conn, [old.id], change)
        # Where something was wrong before, it can be mended one entry after another.
        if whole_before:
            _check(conn, file)
        revoked = _stored(conn, old.id)
    assert revoked.removed is not None
    _tell(revoked.removed)
    return revoked


def import_file(
    conn: Connection, settings: Settings, content: bytes, source: str, author: Author, *, dry_run: bool = False
) -> Imported:
    """Takes the entries of a registry file over into the database, those that say something new; commits.

    All of it is one change. With `dry_run` everything is checked and nothing is changed.

    Args:
        conn: the ledger's connection, with nothing pending.
        settings: `registry`, because the entries must go together with the file that it names.
        content: the file's bytes.
        source: what messages and the audit trail call it.
        author: who, through which door, why.
        dry_run: whether only to tell what would be done.

    Raises:
        Refused: the file does not load, or contradicts what is in force.
    """
    try:
        registry = load_registry(content, source)
    except RegistryError as error:
        raise Refused(f"{source} cannot be taken over; nothing was changed.\n{error}") from error
    change: changes.Change | None = None
    with _changing(conn, settings, author) as file:
        added, skipped = _sorted_out(registry, registry_entries.in_force(conn))
        if added:
            detail = {"version": registry.version, "added": len(added), "skipped": len(skipped)}
            number = changes.record(conn, Action.IMPORT, source, author, detail)
            ids = registry_entries.add_all(conn, [(one.kind, one.document) for one in added], number)
            _check(conn, file)
            change = _stored(conn, ids[0]).change
        if dry_run:
            change = None
            raise psycopg.Rollback()
    if change is not None:
        _tell(change)
    return Imported(added, skipped, tuple(_notes_of_file(registry, file)), None if change is None else change.id)


def listing(conn: Connection, settings: Settings) -> list[ListedEntry]:
    """The entries in force: those of the file in their order, then those of the database by number.

    Raises:
        RegistryUnavailable: the file does not load, and none from there was ever in force.
    """
    file = file_part(settings, conn)
    listed = [] if file is None else list(_listed_file(file))
    for one in registry_entries.in_force(conn):
        change = one.change
        listed.append(
            ListedEntry(one.id, one.kind, one.document, DATABASE, change.by, change.at, change.reason, label_of(one))
        )
    return listed


def notes_of(entry: StoredEntry) -> list[str]:
    """Sentences about an entry that does less than it seems to, for who just added it."""
    return registry_of_entries([entry]).notes()


@contextmanager
def _changing(conn: Connection, settings: Settings, author: Author) -> Iterator[Registry | None]:
    """A transaction that alone changes the registry, and the part of the registry that stands in the file.

    Raises:
        Refused: the author or the reason is missing, or the database cannot keep a text.
    """
    if not author.by.strip():
        raise Refused("Say who makes the change.")
    if not author.reason.strip():
        raise Refused("Say why: the reason is kept with the change, for whoever reads the audit trail later.")
    try:
        # Before the lock: it may come from far away.
        file = file_part(settings, conn)
    except RegistryUnavailable as error:
        raise Refused(str(error)) from error
    conn.commit()
    try:
        with conn.transaction():
            changes.lock(conn)
            yield file
    except psycopg.DataError as error:
        raise Refused(f"The database cannot keep this entry: {str(error).partition(chr(10))[0]}.") from error


def _add(
    conn: Connection,
    settings: Settings,
    kind: EntryKind,
    document: Mapping[str, Any],
    author: Author,
    action: Action,
) -> StoredEntry:
    with _changing(conn, settings, author) as file:
        there = registry_entries.in_force(conn)
        teams = {str(one.document["team"]) for one in there if one.kind == "teams"}
        new = entry_document(_read(kind, document, teams if file is None else teams | set(file.teams)))
        says = _says(kind, new)
        same = next((one for one in there if _says(one.kind, one.document) == says), None)
        if same is not None:
            raise AlreadyThere(f"{_capital(label_of(same))} says the same already.")
        change = changes.record(conn, action, subject_of(new), author, {"kind": kind, "document": new})
        added = _stored(conn, registry_entries.add(conn, kind, new, change))
        _check(conn, file)
    _tell(added.change)
    return added


def _read(kind: EntryKind, document: Mapping[str, Any], teams: set[str] | tuple[()]) -> Any:
    named = document.get("team") or document.get("collection")
    label = f'{_NEW[kind]} "{named}"' if isinstance(named, str) and named.isprintable() else _NEW[kind]
    try:
        return read_entry(kind, document, label=label, teams=teams)
    except EntryError as error:
        raise Refused(str(error)) from error


def _check(conn: Connection, file: Registry | None) -> None:
    """Looks whether what is in force in this transaction is a whole registry.

    Raises:
        Refused: it is not.
    """
    try:
        together(file, registry_of_entries(registry_entries.in_force(conn)))
    except (RegistryError, EntryError) as error:
        raise Refused(f"The registry would not go together any more, so nothing was changed.\n{error}") from error


def _is_whole(file: Registry | None, entries: Sequence[StoredEntry]) -> bool:
    try:
        together(file, registry_of_entries(entries))
    except (RegistryError, EntryError):
        return False
    return True


def _meant(conn: Connection, there: Sequence[StoredEntry], file: Registry | None, entry: int | str) -> StoredEntry:
    """The entry in force with this number, or about this.

    Raises:
        NoSuchEntry: there is none in the database.
        Refused: there are several.
    """
    if isinstance(entry, str) and entry.isascii() and entry.isdigit():
        entry = int(entry)
    if isinstance(entry, int):
        found = [one for one in there if one.id == entry]
        if not found:
            raise NoSuchEntry(_not_there(conn, entry))
        return found[0]
    kinds = {"teams"} if entry.startswith("@") else {"grants", "deny", "reserved"}
    found = [one for one in there if one.kind in kinds and subject_of(one.document) == entry.removeprefix("@")]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(label_of(one) for one in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise Refused(f"Several entries are about {entry}: {shown}{more}. Say which by its number.")
    in_file = (
        []
        if file is None
        else [
            one
            for one in _listed_file(file)
            if one.kind in kinds and subject_of(one.document) == entry.removeprefix("@")
        ]
    )
    if in_file:
        raise NoSuchEntry(
            f"{in_file[0].label} stands in the file {in_file[0].source}, not in the database. Edit the file; it is "
            "read again when it changes."
        )
    raise NoSuchEntry(f"No entry of the database is about {entry}. `maap-stac registry list` shows those in force.")


def _not_there(conn: Connection, id: int) -> str:
    # Beyond what the column holds there is none.
    old = registry_entries.find(conn, id) if 0 < id < 2**63 else None
    if old is None or old.removed is None:
        return (
            f"The database has no entry {id}. `maap-stac registry list` shows those in force; entries of the file have "
            "no number and are changed in the file."
        )
    removed = old.removed
    return (
        f"{_capital(label_of(old))} is out of force already, by change {removed.id} of {removed.by} on "
        f"{removed.at:%Y-%m-%d}."
    )


def _sorted_out(registry: Registry, there: Sequence[StoredEntry]) -> tuple[tuple[Addition, ...], tuple[Addition, ...]]:
    """What of a file is new, and what an entry of the database says already.

    Raises:
        Refused: a team of the file has other members in the database.
    """
    teams = {one.document["team"]: one for one in there if one.kind == "teams"}
    for name, members in registry.teams.items():
        known = teams.get(name)
        if known is not None and frozenset(known.document["users"]) != members:
            raise Refused(
                f"The team {name} of {registry.source} has other members in the database: {label_of(known)}. Make them "
                f"the same, by `maap-stac registry team {name}` or in the file; nothing was changed."
            )
    said = {_says(one.kind, one.document) for one in there}
    added: list[Addition] = []
    skipped: list[Addition] = []
    for one in _listed_file(registry):
        # The flat form has entries that name nobody; they grant nothing.
        if one.kind in ("grants", "deny") and not one.document["users"]:
            continue
        says = _says(one.kind, one.document)
        (skipped if says in said else added).append(Addition(one.kind, one.document))
        said.add(says)
    return tuple(added), tuple(skipped)


def _notes_of_file(registry: Registry, in_force: Registry | None) -> Iterator[str]:
    if registry.on_denied is not None:
        yield (
            f"on_denied: {registry.on_denied} at the top of {registry.source} is not taken over, since it is no entry; "
            "set MAAP_STAC_ON_DENIED, or keep it in the registry file."
        )
    for entry in registry.entries:
        if not entry.users:
            yield f"{entry.label} names nobody, so it is not taken over."
    if in_force is not None:
        both = sorted(registry.teams.keys() & in_force.teams.keys())
        if both:
            yield (
                f"{', '.join(both)}: defined in {in_force.source} too. A change of members in one of the two places "
                "alone is refused; take them out of the file."
            )
    yield from registry.notes()


def _listed_file(file: Registry) -> Iterator[ListedEntry]:
    """The entries of a file in the order of its reference: reserved, teams, grants, denials."""
    for reserved in file.reserved:
        yield _of_file(file, "reserved", entry_document(reserved), reserved.label)
    for name, members in sorted(file.teams.items()):
        yield _of_file(file, "teams", entry_document(Team(name, members)), f"the team {name}")
    for entry in file.entries:
        yield _of_file(file, _kind(entry), entry_document(entry), entry.label)


def _kind(entry: Entry) -> EntryKind:
    return "grants" if entry.kind == "grants" else "deny"


def _of_file(file: Registry, kind: EntryKind, document: Mapping[str, Any], label: str) -> ListedEntry:
    return ListedEntry(None, kind, document, file.source, None, None, None, label)


def _says(kind: EntryKind, document: Mapping[str, Any]) -> bytes:
    """What an entry says, whatever the order in which it names users and algorithms."""
    ordered = {key: sorted(set(value)) if key in ("users", "algorithms") else value for key, value in document.items()}
    return canonical([kind, ordered])


def _stored(conn: Connection, id: int) -> StoredEntry:
    found = registry_entries.find(conn, id)
    assert found is not None
    return found


def _tell(change: changes.Change) -> None:
    """After the commit."""
    log_events.emit(
        Event.REGISTRY_CHANGED,
        change=change.id,
        action=str(change.action),
        subject=change.subject,
        by=change.by,
        via=str(change.via),
        reason=change.reason,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
