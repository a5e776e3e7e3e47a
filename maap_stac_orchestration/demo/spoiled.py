"""Five jobs of the demo that are spoiled on purpose, each in a way that people really meet, and how each is repaired.

Here belongs the table of the ways, as plain values, and what each does to the files of a job. Not here: uploading,
following and repairing them (`repair`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from maap_stac_orchestration.demo import jobs
from maap_stac_orchestration.demo.jobs import DemoJob, Layout
from maap_stac_orchestration.demo.outputs import SIZE, OutputFile, documents, output_files
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.problems import Code

#: The tag of the spoiled jobs, so that the demo's own submission stays green.
TAG = "spoiled"
#: The collection that one of them asks for, and that nobody may write to before it is granted.
COLLECTION = "hls-mosaics-midwest"
#: The user whose name stands in the job metadata of another one's job.
OTHER_USERNAME = "jjfrench"

_CATALOG = "catalog.json"

#: Files of a job by their names below the output prefix.
Files = dict[str, OutputFile]


class Again(StrEnum):
    """What it takes until a repaired job is looked at once more."""

    #: Nothing: a new version of catalog.json comes to notice by itself.
    BY_ITSELF = "by itself"
    #: `maap-stac retry`: files other than catalog.json are not watched.
    RETRY = "retry"
    #: `maap-stac retry --force`: the job is loaded, so a plain retry leaves it alone.
    FORCED_RETRY = "forced retry"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to spoil a job."""

    #: How it is called in lists.
    name: str
    #: What is wrong, and how it comes about, in a sentence.
    wrong: str
    #: The problem that is told.
    code: Code
    #: Where the job ends.
    state: State
    #: What its author, or an administrator, does about it, in a sentence.
    repair: str
    again: Again
    job: DemoJob
    _spoil: Callable[[DemoJob, Files], Files]
    #: The files in place of whole ones where repaired files differ from those of a job that never was spoiled.
    _repair: Callable[[DemoJob, Files], Files]
    #: The collection that an administrator grants, where that is the repair.
    grants: str | None = None

    def spoiled_files(self, time: datetime, size: int = SIZE) -> tuple[OutputFile, ...]:
        """What the job writes in a run at `time` (UTC), in the order of its upload.

        The catalog comes last: then all is there when it comes to notice, and the job is decided about at once.
        """
        files = self._spoil(self.job, {file.name: file for file in output_files(self.job, time, size)})
        return tuple(sorted(files.values(), key=lambda file: file.name == _CATALOG))

    def repaired_files(self, time: datetime, size: int = SIZE) -> tuple[OutputFile, ...]:
        """What its author uploads for a run at `time` to repair it: the files that are other than they were.

        Of the catalog last, as `spoiled_files`.
        """
        written = {file.name: file for file in documents(self.job, time, size)}
        before = self._spoil(self.job, dict(written))
        after = self._repair(self.job, dict(written))
        changed = [file for name, file in after.items() if before.get(name) != file]
        return tuple(sorted(changed, key=lambda file: file.name == _CATALOG))


def way_of(job: DemoJob) -> Way:
    """The way in which one of the spoiled jobs is spoiled."""
    return next(way for way in WAYS if way.job == job)


def _item_name(job: DemoJob) -> str:
    return f"{job.item_id}/{job.item_id}.json"


def _read(file: OutputFile) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.data)
    return document


def _written(name: str, document: Mapping[str, Any]) -> OutputFile:
    return OutputFile(name, json.dumps(document, indent=2).encode(), "application/json")


def _changed(files: Files, name: str, **members: Any) -> Files:
    """The files with other values of some members of one JSON document."""
    return files | {name: _written(name, _read(files[name]) | members)}


def _whole(_job: DemoJob, files: Files) -> Files:
    return files


def _cut_off(_job: DemoJob, files: Files) -> Files:
    catalog = files[_CATALOG]
    return files | {_CATALOG: OutputFile(_CATALOG, catalog.data[: len(catalog.data) // 2], catalog.content_type)}


def _of_another_user(_job: DemoJob, files: Files) -> Files:
    [name] = [name for name in files if name.endswith(".met.json")]
    return _changed(files, name, username=OTHER_USERNAME)


def _in_metres(job: DemoJob, files: Files) -> Files:
    projected = _read(files[_item_name(job)])["properties"]
    return _changed(files, _item_name(job), geometry=projected["proj:geometry"], bbox=projected["proj:bbox"])


def _asking_for_a_collection(job: DemoJob, files: Files) -> Files:
    return _changed(files, _item_name(job), collection=COLLECTION)


def _with_a_second_item(job: DemoJob, files: Files, folder: str, item_id: str) -> Files:
    """The files with one more item, about the red band alone."""
    item = _read(files[_item_name(job)])
    name = f"{folder}/{item_id}.json"
    catalog = _read(files[_CATALOG])
    link = {"rel": "item", "href": f"./{name}", "type": "application/geo+json"}
    return _changed(files, _CATALOG, links=[*catalog["links"], link]) | {
        name: _written(name, item | {"id": item_id, "assets": {"red": item["assets"]["red"]}})
    }


def _two_of_one_id(job: DemoJob, files: Files) -> Files:
    return _with_a_second_item(job, files, "red", job.item_id)


def _two_of_two_ids(job: DemoJob, files: Files) -> Files:
    item_id = f"{job.item_id}-red"
    return _with_a_second_item(job, files, item_id, item_id)


_BOXES = jobs.grid()


def _job(place: int) -> DemoJob:
    # In the layout with a folder for the tag, so that they are found, and told apart, by their prefixes alone.
    return DemoJob(_BOXES[place], 2024, 7, Layout.OLDER, TAG)


#: Each way once, in the order in which they are shown. Together they end in every state that a job's own files lead to,
#: and need every means by which a job comes to be looked at again.
WAYS: tuple[Way, ...] = (
    Way(
        "cut off",
        "The upload of catalog.json broke off in the middle.",
        Code.CATALOG_UNREADABLE,
        State.REJECTED,
        "The author uploads catalog.json once more, whole.",
        Again.BY_ITSELF,
        _job(0),
        _cut_off,
        _whole,
    ),
    Way(
        "another user's",
        "The job metadata was copied from a job of another user.",
        Code.IDENTITY_MISMATCH,
        State.REJECTED,
        "The author uploads the .met.json that the DPS wrote.",
        Again.RETRY,
        _job(1),
        _of_another_user,
        _whole,
    ),
    Way(
        "in metres",
        "The item's geometry is in metres of the image's projection instead of degrees.",
        Code.GEOMETRY_INVALID,
        State.REJECTED,
        "The author uploads the item with its geometry in longitude and latitude.",
        Again.RETRY,
        _job(2),
        _in_metres,
        _whole,
    ),
    Way(
        "not granted",
        f"The item asks for the collection {COLLECTION}, which nobody may write to.",
        Code.USER_NOT_AUTHORIZED,
        State.LOADED,
        f"An administrator grants {COLLECTION} to the user and the algorithm.",
        Again.FORCED_RETRY,
        _job(3),
        _asking_for_a_collection,
        _asking_for_a_collection,
        COLLECTION,
    ),
    Way(
        "one id twice",
        "The job wrote an item for each of two images and gave both the same id.",
        Code.ITEM_DUPLICATE,
        State.PARTIAL,
        "The author gives the second item an id of its own, and uploads it with the catalog that links to it.",
        Again.BY_ITSELF,
        _job(4),
        _two_of_one_id,
        _two_of_two_ids,
    ),
)
