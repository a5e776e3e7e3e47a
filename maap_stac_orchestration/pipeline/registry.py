"""Which registry is in force: the file that the settings name, or the last good one from there, together with the
entries that the database keeps.

Here belongs fetching both parts, putting them together, and what happens when that fails. Not here: what a registry
means (`governance`), its history (`ledger.registries`), and changing entries (`administer`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock

from maap_stac_orchestration import log_events
from maap_stac_orchestration.governance.entries import Entry, Reserved
from maap_stac_orchestration.governance.registry import NO_VERSION, Registry, RegistryError, load_registry
from maap_stac_orchestration.governance.registry_file import EntryError, RegistryProblem, read_entry
from maap_stac_orchestration.ledger import registries, registry_entries
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.registries import Load
from maap_stac_orchestration.ledger.registry_entries import StoredEntry
from maap_stac_orchestration.log_events import Event
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import ObjectError, StoreUnavailable

#: Far above what people write, far below what would hurt.
MAX_REGISTRY_BYTES = 64 * 2**20

#: What the part of the registry that the database keeps is called, in messages and in the history.
DATABASE = "the database"

#: How an entry of each kind begins its label.
_KINDS = {"grants": "grant", "deny": "deny", "teams": "team", "reserved": "reserved"}

_log = logging.getLogger(__name__)


class RegistryUnavailable(Exception):
    """No registry can be put in force: the one in the settings cannot be loaded, and none was loaded before."""


@dataclass(frozen=True, slots=True)
class RegistryInForce:
    """The registry that decides, and what is wrong when it is not the one that the settings name."""

    registry: Registry
    #: None when all is well; else sentences for the operator: what cannot be loaded, and what is in force instead.
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class FileRead:
    """A registry file as it was found."""

    source: str
    content: bytes
    #: None where it cannot be read or does not load.
    registry: Registry | None
    #: Why not, in sentences.
    reason: str | None = None


def current_registry(settings: Settings, conn: Connection | None = None) -> Registry:
    """The registry in force; one that stands in for a broken one is logged as an error.

    See `registry_in_force`, which tells about that in its result.
    """
    found = registry_in_force(settings, conn)
    if found.warning:
        _log.error(found.warning)
    return found.registry


def registry_in_force(
    settings: Settings, conn: Connection | None = None, *, write_down: bool = True
) -> RegistryInForce:
    """Loads the registry that the settings name and the entries of the database; where there is neither, the empty
    registry, which lets nobody choose.

    A file that cannot be read, does not load or contradicts the entries of the database changes nothing: with a
    connection, the last good one from the same place stays in force, so that a slip of the pen never opens or closes
    every collection at once; entries of the database go on being added and revoked meanwhile. Each new version is
    written down in the ledger, refused ones too.

    Args:
        settings: `registry` is a path or an `s3://` address.
        conn: the ledger's connection; what is written there is committed. Without one, the file alone.
        write_down: False for those who only look: nothing is written, committed or told.

    Raises:
        RegistryUnavailable: it cannot be loaded, and there is no ledger, or no good one in it.
    """
    file = read_file(settings.registry) if settings.registry else None
    if conn is None:
        return _of_file_alone(file)
    choice = _choose(conn, file, *database_part(conn))
    if write_down:
        _write_down(conn, choice)
    if choice.registry is None:
        raise RegistryUnavailable(choice.warning)
    return RegistryInForce(choice.registry, choice.warning)


def registry_of_version(conn: Connection, version: str) -> Registry | None:
    """The registry that was in force under this version, to decide once more as then; None where there never was one.

    Args:
        conn: the ledger's connection.
        version: as decisions have it.

    Raises:
        RegistryUnavailable: what was in force then is not a registry by today's rules.
    """
    if version == NO_VERSION:
        return Registry.empty()
    load = registries.of_version(conn, version)
    if load is None:
        return None
    try:
        return _rebuilt(conn, load)
    except RegistryError as error:
        raise RegistryUnavailable(f"The registry {version} cannot be loaded any more. {error}") from error


def read_file(source: str) -> FileRead:
    """The registry file at a path or an `s3://` address; what is wrong with it stands in `reason`."""
    content = b""
    try:
        content = fetch(source)
        return FileRead(source, content, _parsed(content, source))
    except (RegistryError, ObjectError, StoreUnavailable, OSError) as error:
        reason = f"{error.strerror}." if isinstance(error, OSError) and error.strerror else str(error)
        return FileRead(source, content, None, reason)


def file_part(settings: Settings, conn: Connection) -> Registry | None:
    """The part of what is in force that stands in the file, which entries of the database must go together with.

    That is the file, or the last good one where the file does not load or contradicts the entries. Writes nothing. None
    where the settings name no file.

    Raises:
        RegistryUnavailable: the file does not load, and none from there was ever in force.
    """
    if not settings.registry:
        return None
    file = read_file(settings.registry)
    if file.registry is not None and _goes_with_database(file.registry, conn):
        return file.registry
    last = registries.last_good(conn, file.source)
    if last is not None:
        return _parsed(last.content.encode(), file.source)
    if file.registry is None:
        raise RegistryUnavailable(f"{_refused(file.source, file.reason)}\nCorrect the file.")
    return file.registry


def _goes_with_database(file: Registry, conn: Connection) -> bool:
    try:
        together(file, database_part(conn)[0])
    except (RegistryError, RegistryUnavailable):
        return False
    return True


def database_part(conn: Connection) -> tuple[Registry, int]:
    """The entries in force in the database as a registry, and the number of the last change of them, 0 for none.

    Raises:
        RegistryUnavailable: an entry is none by today's rules.
    """
    moment = registry_entries.last_moment(conn)
    if not moment.change:
        return _EMPTY, 0
    # The number alone would not do: in another database it is another change.
    key = (conn.info.host, conn.info.port, conn.info.dbname, moment.change, moment.at)
    with _stored_lock:
        known = _stored.get(key)
    if known is None:
        try:
            # As of the change, and not what is in force: another change may come between the two questions.
            known = registry_of_entries(registry_entries.as_of(conn, moment.change))
        except EntryError as error:
            raise RegistryUnavailable(
                f"An entry of the registry in the database cannot be used. {error}\nRevoke it with "
                "`maap-stac registry revoke`; nothing is decided without a whole registry."
            ) from error
        with _stored_lock:
            while len(_stored) >= _STORED_KEPT:
                _stored.pop(next(iter(_stored)))
            _stored[key] = known
    return known, moment.change


_EMPTY = Registry.empty()
_STORED_KEPT = 4
_stored: dict[tuple[object, ...], Registry] = {}
_stored_lock = Lock()


def registry_of_entries(entries: Iterable[StoredEntry]) -> Registry:
    """The registry that these entries of the database are; the empty one where there are none.

    Its version is the beginning of the SHA-256 of their kinds and documents in the order of their numbers, so it
    depends on what they say alone. Teams that they name may be defined elsewhere; `Registry.merged` sees to that.

    Raises:
        EntryError: a document is no entry by the rules of the registry file.
    """
    ordered = sorted(entries, key=lambda one: one.id)
    if not ordered:
        return _EMPTY
    found: list[Entry] = []
    reserved: list[Reserved] = []
    teams: dict[str, frozenset[str]] = {}
    for one in ordered:
        read = read_entry(one.kind, one.document, label=label_of(one), teams=None)
        if isinstance(read, Entry):
            found.append(read)
        elif isinstance(read, Reserved):
            reserved.append(read)
        else:
            teams[read.name] = read.members
    said = canonical([[one.kind, one.document] for one in ordered])
    return Registry(
        entries=tuple(found),
        reserved=tuple(reserved),
        teams=teams,
        version=sha256(said).hexdigest()[:12],
        source=DATABASE,
    )


def label_of(entry: StoredEntry) -> str:
    """How rules and messages name an entry of the database: `grant 17 "maap-*" (by ana, 2026-11-21)`."""
    named = subject_of(entry.document)
    day = entry.change.at.astimezone(UTC)
    by = entry.change.by if entry.change.by.isprintable() else ascii(entry.change.by)
    return f'{_KINDS[entry.kind]} {entry.id} "{named}" (by {by}, {day:%Y-%m-%d})'


def subject_of(document: object) -> str:
    """What an entry is about: its pattern, or the name of its team."""
    assert isinstance(document, dict)
    return str(document.get("team") or document.get("collection"))


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no spaces and only ASCII, so that equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def together(file: Registry | None, stored: Registry) -> Registry:
    """What the file and the entries of the database are together.

    Raises:
        RegistryError: they contradict one another, or an entry names a team that neither defines.
    """
    return _merged(_Part.of(_EMPTY if file is None else file), _Part.of(stored))


def _of_file_alone(file: FileRead | None) -> RegistryInForce:
    if file is None:
        return RegistryInForce(Registry.empty())
    if file.registry is None:
        raise RegistryUnavailable(
            f"{_refused(file.source, file.reason)}\nCorrect the file; nothing is decided without a registry."
        )
    return RegistryInForce(file.registry)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What decides, and how that is written down."""

    #: None where nothing can.
    registry: Registry | None
    #: How `registry` is written down; None where there is nothing to tell.
    load: Load | None
    #: What was looked at on the way.
    tried: Sequence[Load]
    #: Where `registry` may come from under these settings.
    sources: Sequence[str]
    #: What is wrong, and what is in force instead; where nothing is, what to do.
    warning: str | None = None


def _choose(conn: Connection, file: FileRead | None, stored: Registry, change: int) -> _Choice:
    parts = [Load(stored.version, DATABASE, as_of=change)] if change else []
    if file is None:
        return _Choice(_checked(stored), parts[0] if parts else None, parts, (DATABASE,))
    sources = (file.source, f"{file.source} and {DATABASE}")
    reason = file.reason
    if file.registry is not None:
        try:
            registry = together(file.registry, stored)
        except RegistryError as error:
            reason = str(error)
        else:
            loaded = Load(file.registry.version, file.source, _text(file.content))
            load = _load_of(registry, file.registry, stored, loaded)
            return _Choice(registry, load, [loaded, *parts], sources)

    refused = _refused(file.source, reason)
    version = sha256(file.content).hexdigest()[:12]
    tried = [Load(version, file.source, _text(file.content), error=reason), *parts]
    last = registries.last_good(conn, file.source)
    if last is None:
        sentence = "Correct the file; none from there was ever in force, and without one nothing is decided."
        return _Choice(None, None, tried, sources, f"{refused}\n{sentence}")
    try:
        good = _parsed(last.content.encode(), file.source)
        registry = together(good, stored)
    except RegistryError as error:
        return _last_whole(conn, tried, sources, f"{refused}\nNeither can the last good one be used. {error}")
    load = _load_of(registry, good, stored, Load(last.version, last.source, last.content))
    sentence = f"The registry {last.version} of {last.loaded_at:%Y-%m-%d %H:%M} UTC stays in force until then."
    return _Choice(registry, load, tried, sources, f"{refused}\n{sentence}")


def _last_whole(conn: Connection, tried: Sequence[Load], sources: Sequence[str], wrong: str) -> _Choice:
    """What was in force last of this file and the database, for when not even the last good file goes with it."""
    version = registries.last_in_force(conn, sources)
    load = None if version is None else registries.of_version(conn, version)
    try:
        registry = None if load is None else _rebuilt(conn, load)
    except RegistryError as error:
        return _Choice(None, None, tried, sources, f"{wrong}\nNor can the one that was in force last. {error}")
    if registry is None:
        return _Choice(None, None, tried, sources, f"{wrong}\nNone was ever in force, so nothing is decided.")
    sentence = (
        f"The registry {registry.version} stays in force as a whole, without what was changed in the database since."
    )
    return _Choice(registry, load, tried, sources, f"{wrong}\n{sentence}")


def _load_of(registry: Registry, file: Registry, stored: Registry, of_file: Load) -> Load:
    """How what is in force is written down: as the file where there is nothing else, else as both together."""
    if registry.version == file.version:
        return of_file
    return Load(registry.version, f"{file.source} and {DATABASE}", parts=(file.version, stored.version))


def _write_down(conn: Connection, choice: _Choice) -> None:
    """Records what was tried and what decides, commits, and tells about what is new."""
    # As one also over a connection that commits each statement.
    with conn.transaction():
        news = registries.record(conn, choice.tried, choice.load, choice.sources)
    conn.commit()
    registry = choice.registry
    if news.in_force and registry is not None:
        log_events.emit(
            Event.REGISTRY_LOADED,
            registry_version=registry.version,
            source=registry.source,
            entries=len(registry.entries) + len(registry.reserved),
        )
    for load in choice.tried if news.refused else ():
        if load.error is not None:
            log_events.emit(
                Event.REGISTRY_REFUSED,
                source=load.source,
                reason=load.error,
                registry_version=None if registry is None else registry.version,
            )


def _rebuilt(conn: Connection, load: Load) -> Registry:
    if load.parts is not None:
        found = [registries.of_version(conn, part) for part in load.parts]
        parts = [_rebuilt(conn, one) for one in found if one is not None]
        if len(parts) < len(load.parts):
            raise RegistryError(load.source, [RegistryProblem(None, "the ledger does not have all of its parts.")])
        return parts[0].merged(*parts[1:])
    if load.as_of is not None:
        try:
            return registry_of_entries(registry_entries.as_of(conn, load.as_of))
        except EntryError as error:
            raise RegistryError(load.source, [RegistryProblem(None, str(error))]) from error
    return _parsed(load.content.encode(), load.source)


def _checked(stored: Registry) -> Registry:
    """The entries of the database where there is no file."""
    try:
        return together(None, stored)
    except RegistryError as error:
        raise RegistryUnavailable(
            f"The registry in the database cannot be used by itself, and the settings name no registry file. {error}\n"
            "Let MAAP_STAC_REGISTRY name the file, or define in the database what is missing."
        ) from error


def _refused(source: str, reason: str | None) -> str:
    return f"The registry {source} cannot be loaded. {reason}"


@dataclass(frozen=True, slots=True)
class _Part:
    """A registry as the key of a cache, without going through all it holds."""

    identity: int
    registry: Registry = field(compare=False)

    @classmethod
    def of(cls, registry: Registry) -> _Part:
        # The cache keeps the registry, so that no other one gets its identity meanwhile.
        return cls(id(registry), registry)


@lru_cache(maxsize=4)
def _merged(file: _Part, stored: _Part) -> Registry:
    return file.registry.merged(stored.registry)


def fetch(source: str) -> bytes:
    """The bytes of the registry file at a path or an `s3://` address.

    Raises:
        OSError: the path cannot be read.
        ObjectError: the object cannot be had, or is larger than `MAX_REGISTRY_BYTES`.
        StoreUnavailable: the store does not answer.
    """
    if not source.startswith("s3://"):
        return Path(source.removeprefix("file://")).read_bytes()
    from maap_stac_orchestration.store.s3 import S3Objects

    bucket, _, key = source.removeprefix("s3://").partition("/")
    return asyncio.run(S3Objects.from_environment().get(bucket, key, MAX_REGISTRY_BYTES)).data


@lru_cache(maxsize=4)
def _parsed(content: bytes, source: str) -> Registry:
    return load_registry(content, source)


def _text(content: bytes) -> str:
    """The content as the ledger can keep it: a text column takes neither broken UTF-8 nor NUL."""
    return content.decode(errors="replace").replace("\0", "�")
