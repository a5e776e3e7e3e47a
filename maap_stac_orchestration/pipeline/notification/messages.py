"""What endpoints are told: CloudEvents 1.0 in their structured JSON form.

Here belongs the form of messages, and of the report beside the catalog. Pure: values in, text out. Not here: how they
are sent. https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import maap_stac_orchestration
from maap_stac_orchestration.ledger.deliveries import JobEnd
from maap_stac_orchestration.ledger.documents import Addresses, job_document
from maap_stac_orchestration.ledger.records import JobDetail, timestamp
from maap_stac_orchestration.problems import ProblemDocument

CONTENT_TYPE = "application/cloudevents+json"
#: What the type of every message begins with; the state in which the job ended follows.
TYPE_PREFIX = "org.maap-project.stac.job."
#: The type of the message by which an endpoint is tried.
TEST_TYPE = "org.maap-project.stac.test"
#: Where messages come from, where no public address is set.
SOURCE = "urn:maap-project:stac"

#: Problems that a message holds in full.
MOST_PROBLEMS = 100
#: Collections that a message names.
MOST_COLLECTIONS = 100
#: Characters that problems may take together: SNS refuses messages of more than 256 KiB, and many receivers less.
_PROBLEM_CHARACTERS = 64 * 1024

#: By what a report is known as ours.
GENERATOR = "maap-stac-orchestration"
#: Items, problems, decisions and documents that a report holds.
MOST_IN_REPORT = 1_000


def job_message(
    end: JobEnd,
    problems: Sequence[ProblemDocument],
    problem_count: int,
    *,
    message_id: UUID,
    addresses: Addresses,
) -> str:
    """The message that a job ended.

    Args:
        end: the end, with the job as it was when the message was made.
        problems: the first of its problems.
        problem_count: how many it has.
        message_id: the same at each try.
        addresses: where links lead.
    """
    job = end.job
    shown = _bounded(problems[:MOST_PROBLEMS])
    collections = job.collections[:MOST_COLLECTIONS]
    data: dict[str, Any] = {
        **job.to_document(),
        "state": str(end.state),
        "reason": end.reason,
        "bucket": job.bucket,
        "run_id": end.run_id,
        "collections": list(collections),
        "collections_not_shown": len(job.collections) - len(collections),
        "problem_details": shown,
        "problems_not_shown": problem_count - len(shown),
        "links": [
            *addresses.page(job.prefix),
            *addresses.job(job.prefix, "job"),
            *addresses.run(end.run_id),
            *(link for collection in collections for link in addresses.collection(collection)),
        ],
    }
    return _event(
        f"{TYPE_PREFIX}{end.state}", subject=job.prefix, time=end.at, message_id=message_id, to=addresses, data=data
    )


def test_message(*, endpoint_id: int, message_id: UUID, time: datetime, addresses: Addresses) -> str:
    """The message by which somebody finds out whether an endpoint works."""
    data = {"endpoint": endpoint_id, "message": "This is a test. Messages about jobs look like it, with other data."}
    return _event(
        TEST_TYPE, subject=f"endpoint/{endpoint_id}", time=time, message_id=message_id, to=addresses, data=data
    )


def report(detail: JobDetail, *, addresses: Addresses, written: datetime) -> bytes:
    """The report beside the catalog: the job as `GET /jobs/{prefix}` has it, long lists cut and the rest counted."""
    document = job_document(detail, addresses)
    not_shown: dict[str, int] = {}
    for name in ("items", "problems", "decisions", "catalogs", "states", "collections", "links"):
        whole = document[name]
        document[name] = whole[:MOST_IN_REPORT]
        not_shown[name] = len(whole) - len(document[name])
    told = {
        "generator": f"{GENERATOR} {maap_stac_orchestration.__version__}",
        "written": timestamp(written),
        **document,
        "not_shown": {name: count for name, count in not_shown.items() if count},
    }
    return json.dumps(told, indent=2).encode()


def _event(kind: str, *, subject: str, time: datetime, message_id: UUID, to: Addresses, data: Mapping[str, Any]) -> str:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": str(message_id),
            "source": to.api or SOURCE,
            "type": kind,
            "subject": subject,
            "time": timestamp(time),
            "datacontenttype": "application/json",
            "data": data,
        },
        separators=(",", ":"),
    )


def _bounded(problems: Sequence[ProblemDocument]) -> list[ProblemDocument]:
    """As many of the first problems as there is room for."""
    room = _PROBLEM_CHARACTERS
    shown: list[ProblemDocument] = []
    for problem in problems:
        room -= len(json.dumps(problem))
        if room < 0:
            break
        shown.append(problem)
    return shown
