"""What would become of a job's output, told before it is submitted: the first two stages, without a ledger.

Here belongs finding the job in a folder or a bucket, and standing in for what only the DPS will write. Not here: the
stages themselves (`read`, `governance.decide`) and how the answer is printed (`cli.check`). Nothing is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from maap_stac_orchestration.dps.job import OutputPrefix
from maap_stac_orchestration.dps.metadata import is_metadata_name
from maap_stac_orchestration.dps.output_prefix import (
    OUTPUT_FOLDER,
    SHARED_FOLDER,
    NotAnOutputPrefix,
    find_output_prefix,
    parse_output_prefix,
)
from maap_stac_orchestration.governance.decide import ExistingCollections, decide, problem_of
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome, Request
from maap_stac_orchestration.governance.default_collection import default_collection_id
from maap_stac_orchestration.governance.registry import Registry
from maap_stac_orchestration.pipeline.batch import ClaimedJob, ReadItem, ReadJob
from maap_stac_orchestration.pipeline.decide import names_of
from maap_stac_orchestration.pipeline.read import CATALOG_NAME, read_jobs
from maap_stac_orchestration.problems import Problem, Severity
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.local import LocalObjects
from maap_stac_orchestration.store.objects import Fetched, ObjectInfo, ObjectStore

#: The bucket that a folder is taken for where the settings name none: that of the local stack.
DEFAULT_BUCKET = "maap-ops-workspace"

#: How many refused items a problem names.
_NAMED = 3


#: Requested ids -> which collections there are, or None where nobody can tell.
Existing = Callable[[frozenset[str]], ExistingCollections | None]

#: Raw names of a job -> the id of its default collection, or None where nobody can tell.
Default = Callable[[tuple[str, str, str, str | None]], str | None]


class NoJob(ValueError):
    """No job can be found at a place; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the caller says of a job, for what its place and its files do not tell."""

    username: str | None = None
    algorithm: str | None = None
    version: str | None = None
    tag: str | None = None

    def __bool__(self) -> bool:
        return any((self.username, self.algorithm, self.version, self.tag))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job's outputs are."""

    store: ObjectStore
    bucket: str
    prefix: OutputPrefix


@dataclass(frozen=True, slots=True)
class CheckedItem:
    """An item that would be loaded."""

    item: ReadItem
    decision: Decision


@dataclass(frozen=True, slots=True)
class Preflight:
    """What would become of a job."""

    place: Place
    read: ReadJob
    #: Items that would be loaded, in link order.
    items: tuple[CheckedItem, ...]
    #: Requested collection (None: nothing requested) -> decision.
    decisions: Mapping[str | None, Decision]
    #: Everything that is wrong, warnings of items included.
    problems: tuple[Problem, ...]
    #: Whether it was known which of the requested collections there are.
    existing_known: bool = True

    @property
    def ok(self) -> bool:
        """Whether no problem is an error. A denial whose items go to the default collection is none."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)


class WithMetadata:
    """A store in which a job has the sidecar that the DPS would write, unless it has one already."""

    def __init__(self, store: ObjectStore, prefix: OutputPrefix, metadata: Mapping[str, str | None]) -> None:
        self._store = store
        self._prefix = prefix
        self._key = f"{prefix.key}output-{prefix.time:%Y-%m-%dT%H:%M:%S.%f}.met.json"
        self._data = json.dumps(metadata).encode()

    async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        """See `ObjectStore.list`."""
        listed = await self._store.list(bucket, prefix)
        if prefix != self._prefix.key or any(is_metadata_name(one.key.removeprefix(prefix)) for one in listed):
            return listed
        return sorted([*listed, self._info()], key=lambda info: info.key)

    async def get(self, bucket: str, key: str, max_bytes: int) -> Fetched:
        """See `ObjectStore.get`. It is only asked for what it listed."""
        if key == self._key:
            return Fetched(self._info(), self._data)
        return await self._store.get(bucket, key, max_bytes)

    def _info(self) -> ObjectInfo:
        return ObjectInfo(self._key, len(self._data), "stand-in", self._prefix.time)


def local_place(path: Path, names: Names, settings: Settings, now: datetime) -> Place:
    """The job in a folder.

    The folder's own path is read like a prefix: the segment before the last `dps_output` in it is the username. A path
    that holds no whole prefix gets one of `names`, what it does tell, and the time `now`.

    Raises:
        NoJob: there is no such folder, it tells too little, or jobs lie below it.
    """
    if not path.exists():
        raise NoJob(f"There is nothing at {path}.")
    # Not resolved: a link may give a folder the path that it will have in the bucket.
    folder = Path(os.path.abspath(path))  # noqa: PTH100
    if path.is_file():
        if path.name != CATALOG_NAME:
            raise NoJob(f"{path} is a file; name the job's output folder, the one that holds {CATALOG_NAME}.")
        folder = folder.parent
    bucket = settings.buckets[0] if settings.buckets else DEFAULT_BUCKET
    found = _prefix_in(folder)
    if found is not None:
        root, prefix = found
        return Place(_standing_in(LocalObjects(root, prefix.key), prefix, names), bucket, prefix)
    _refuse_above_jobs(folder)
    prefix = _made_up(folder, names, now)
    known = replace(names, username=prefix.username, algorithm=prefix.algorithm, version=prefix.version)
    return Place(_standing_in(LocalObjects(folder, prefix.key), prefix, known), bucket, prefix)


def s3_place(address: str, names: Names, store: ObjectStore) -> Place:
    """The job at an `s3://` address, which holds its output prefix.

    Raises:
        NoJob: the address holds none.
    """
    bucket, _, key = address.removeprefix("s3://").partition("/")
    prefix = find_output_prefix(key if key.endswith("/") else f"{key}/")
    if not bucket or prefix is None:
        raise NoJob(
            f"{address} holds no output prefix; write s3://bucket/username/{OUTPUT_FOLDER}/algorithm/version/[tag/]"
            "YYYY/MM/DD/HH/mm/ss/microseconds/."
        )
    return Place(_standing_in(store, prefix, names), bucket, prefix)


def preflight(
    place: Place, settings: Settings, registry: Registry, existing: Existing, default: Default, now: datetime
) -> Preflight:
    """Reads and checks the job, and decides about its items as a run would.

    Args:
        place: the job.
        settings: bounds and the template of default collections.
        registry: the registry in force.
        existing: tells which of the collections that were asked for there are; where it cannot, the decision is taken
            as if there were none.
        default: tells the id of the default collection of raw names; where it cannot, it is the one that the template
            gives.
        now: the time, UTC.

    Raises:
        StoreUnavailable: the job's place cannot be read.
    """
    claim = ClaimedJob(None, place.bucket, place.prefix.key, {}, catalog_modified=now)
    [read] = read_jobs([claim], place.store, settings, now)
    requested = frozenset(item.requested_collection for item in read.items if item.requested_collection)
    there_are = existing(requested) if requested else ExistingCollections.of(())
    decisions = _decisions(read, settings, registry, there_are or ExistingCollections.of(()), default)
    items = tuple(
        CheckedItem(item, decision)
        for item in read.items
        if (decision := decisions[item.requested_collection or None]).outcome is not Outcome.REJECT
    )
    denials = [_denial(read, wanted, one) for wanted, one in decisions.items() if one.outcome is Outcome.REJECT]
    if any(decision.code is DecisionCode.IDENTITY_MISMATCH for decision in decisions.values()):
        # The whole job is refused, for one reason however many collections it asks for.
        denials = denials[:1]
    return Preflight(place, read, items, decisions, (*read.problems, *denials), existing_known=there_are is not None)


def _decisions(
    read: ReadJob, settings: Settings, registry: Registry, existing: ExistingCollections, known: Default
) -> dict[str | None, Decision]:
    if read.job is None:
        return {}
    job = read.job
    names = names_of(job)
    default = known(names) or default_collection_id(names, settings.default_collection_template).preferred
    requested = dict.fromkeys(item.requested_collection or None for item in read.items) or {None: None}
    return {
        wanted: decide(
            Request(job.username, job.algorithm, job.version, job.tag, wanted, default, read.metadata_username),
            registry,
            existing,
            settings.on_denied,
        )
        for wanted in requested
    }


def _denial(read: ReadJob, wanted: str | None, decision: Decision) -> Problem:
    about = read.claim.prefix if decision.code is DecisionCode.IDENTITY_MISMATCH else wanted
    problem = problem_of(decision, about)
    assert problem is not None
    refused = [item.source.key for item in read.items if (item.requested_collection or None) == wanted]
    named = ", ".join(refused[:_NAMED])
    more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
    return replace(problem, detail=f"{problem.detail} Not loaded: {named}{more}.") if refused else problem


def _prefix_in(folder: Path) -> tuple[Path, OutputPrefix] | None:
    """The job's own folder and its prefix, where the path of a folder holds one."""
    parts = folder.parts
    for start in range(len(parts) - 2, 0, -1):
        if parts[start + 1] != OUTPUT_FOLDER:
            continue
        if parts[start - 1] == SHARED_FOLDER and parts[start] != OUTPUT_FOLDER:
            start -= 1
        prefix = find_output_prefix("/".join(parts[start:]) + "/")
        if prefix is not None:
            return Path(*parts[: start + prefix.key.count("/")]), prefix
    return None


def _refuse_above_jobs(folder: Path) -> None:
    """A bucket's folder, or a user's, is no job: its catalogs belong to several."""
    for catalog in folder.rglob(CATALOG_NAME):
        below = _prefix_in(catalog.parent)
        if below is not None:
            raise NoJob(f"{folder} lies above the outputs of jobs; check one of them, for example {below[0]}.")


def _made_up(folder: Path, names: Names, now: datetime) -> OutputPrefix:
    told = _told_by_path(folder)
    username = told.username or names.username
    algorithm = names.algorithm or told.algorithm
    version = names.version or told.version
    tag = names.tag or told.tag
    missing = [
        f"--{name}"
        for name, value in (("username", username), ("algorithm", algorithm), ("version", version))
        if not value
    ]
    if missing:
        raise NoJob(
            f"The path {folder} does not tell whose job this is: it holds no output prefix"
            f" (…/username/{OUTPUT_FOLDER}/algorithm/version/…). Add {', '.join(missing)}."
        )
    stamp = now.astimezone(UTC)
    segments = [username, OUTPUT_FOLDER, algorithm, version, tag, f"{stamp.year:04}/{stamp:%m/%d/%H/%M/%S/%f}"]
    try:
        prefix = parse_output_prefix("/".join(segment for segment in segments if segment) + "/")
    except NotAnOutputPrefix as error:
        raise NoJob(f"The names given make no output prefix. {error}") from None
    if (prefix.username, prefix.algorithm, prefix.version, prefix.tag) != (username, algorithm, version, tag or None):
        raise NoJob("Usernames, algorithms and versions cannot hold slashes; correct the options.")
    return prefix


def _told_by_path(folder: Path) -> Names:
    """What the path tells although it holds no whole prefix."""
    parts = folder.parts
    for at in range(len(parts) - 1, 1, -1):
        if parts[at] == OUTPUT_FOLDER:
            rest = parts[at + 1 :]
            algorithm, version = (*rest, None, None)[:2]
            return Names(parts[at - 1], algorithm, version, "/".join(rest[2:]) or None)
    return Names()


def _standing_in(store: ObjectStore, prefix: OutputPrefix, names: Names) -> ObjectStore:
    """The store, with the sidecar that the names make up where the job has none."""
    if not names:
        return store
    return WithMetadata(
        store,
        prefix,
        {
            "username": names.username or prefix.username,
            "algorithm_name": names.algorithm or prefix.algorithm,
            "algorithm_version": names.version or prefix.version,
            "tag": names.tag or prefix.tag,
        },
    )
