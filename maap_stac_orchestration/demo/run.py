"""The demo from beginning to end: submit what is missing, follow everything, ask what a user would ask.

Here belongs the order of things and what is reported of them. Not here: how they are shown (`cli.demo`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from maap_stac_orchestration.demo import follow as following
from maap_stac_orchestration.demo import submit as submitting
from maap_stac_orchestration.demo.follow import Answers
from maap_stac_orchestration.demo.jobs import DemoJob
from maap_stac_orchestration.demo.submit import Submitted

#: The day that the demo searches: the first of the months, which one item of each box covers.
DAY = "2024-06-01"


class Event(StrEnum):
    """What is reported of a job while the demo runs."""

    #: All its files are in the bucket; also told of jobs that were there before.
    SUBMITTED = "submitted"
    #: Its item came back from a search.
    SEARCHABLE = "searchable"


@dataclass(frozen=True, slots=True)
class Report:
    """How a demo went."""

    jobs: tuple[Submitted, ...]
    #: How many of them were in the bucket before.
    already_there: int
    #: Jobs whose item is not searchable, each with a sentence.
    missing: tuple[Submitted, ...]
    reasons: tuple[str, ...]
    #: From the first upload until the last item was searchable, seconds.
    seconds: float
    answers: Answers


def run(
    jobs: Sequence[DemoJob],
    *,
    bucket: str,
    api_url: str,
    collection: str,
    again: bool,
    timeout: timedelta,
    on_event: Callable[[Event, Submitted], None],
) -> Report:
    """Submits those of the jobs that are not in the bucket yet (all of them when `again`), and follows all.

    Args:
        collection: the id of the jobs' default collection.
        timeout: how long to wait for the items once everything is submitted.
        on_event: called from the calling thread and from the one that uploads.

    Raises:
        ApiUnavailable: the STAC API does not answer.
        BucketUnavailable: the bucket cannot be listed or written.
    """
    client = following.open_api(api_url)
    s3 = submitting.s3_client()
    there = {} if again else submitting.find_submitted(s3, bucket, jobs)
    submitted: list[Submitted] = []
    interrupted = threading.Event()

    def done(one: Submitted) -> None:
        submitted.append(one)
        on_event(Event.SUBMITTED, one)

    for one in there.values():
        done(one)
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(
            submitting.submit,
            s3,
            bucket,
            [job for job in jobs if job not in there],
            now=datetime.now(UTC),
            on_done=done,
            stop=interrupted.is_set,
        )

        def known() -> tuple[list[Submitted], bool]:
            complete = upload.done()
            if complete:
                upload.result()  # what went wrong there goes wrong here
            return list(submitted), complete

        try:
            missing = following.follow(
                client, collection, known, timeout=timeout, on_found=lambda one: on_event(Event.SEARCHABLE, one)
            )
        finally:
            interrupted.set()
    return Report(
        jobs=tuple(submitted),
        already_there=len(there),
        missing=missing,
        reasons=following.explain_missing(api_url, missing),
        seconds=time.monotonic() - started,
        answers=following.ask(client, collection, DAY),
    )
