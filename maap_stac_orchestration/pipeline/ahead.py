"""Reading a batch's jobs in a thread, ahead of whoever decides and loads them.

Here belongs which of the jobs that were read are handed over together, and how far reading may get ahead. Not here:
reading itself (`read`), and what is done with the jobs (`ingest`).

Reading is Python's work and the network's, loading mostly PostgreSQL's, so that a batch takes little longer than the
dearer of both. What has been read and not yet loaded is all that is held in memory, however much the batch turns out to
hold: claims go by estimates of the catalogs' sizes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from datetime import datetime

from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.pipeline.batch import ClaimedJob, ReadJob
from maap_stac_orchestration.pipeline.read import read_each
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import ObjectStore

#: A batch is handed over in about so many parts: what is loaded last, nobody reads beside. More parts would gain less
#: than each costs, which is a transaction and its statements for each group of collections.
PARTS = 4
#: Jobs that a part is not worth having fewer of, unless it has documents enough.
FEWEST = 100
#: Documents of a part, whatever the batch holds.
DOCUMENTS = 2_500

#: Bucket, and the output prefix up to the timestamp: whose default collection is one.
Submission = tuple[str, str]


@contextmanager
def read_ahead(claims: Sequence[ClaimedJob], store: ObjectStore, settings: Settings, now: datetime) -> Iterator[Ahead]:
    """Reads jobs in a thread until the block ends; `Ahead.parts` gives them.

    Args:
        claims, store, settings, now: as for `read.read_jobs`.
    """
    ahead = Ahead(claims, settings.max_batch_items)
    # What is bound to log events is bound there too.
    thread = threading.Thread(
        target=copy_context().run, args=(ahead.read, store, settings, now), name="reading ahead", daemon=True
    )
    thread.start()
    try:
        yield ahead
    finally:
        ahead.stop()
        thread.join()


class Ahead:
    """What reader and loader share. The loader waits on a condition, the reader in its event loop."""

    def __init__(self, claims: Sequence[ClaimedJob], room: int) -> None:
        #: How long reading took until the last job that was read so far, waiting for room with it.
        self.seconds = 0.0
        self._claims = claims
        self._submissions = [(claim.bucket, parse_output_prefix(claim.prefix).group) for claim in claims]
        #: How many jobs of a submission there are, and how many of them have not been read yet.
        self._jobs_of = Counter(self._submissions)
        self._unread = Counter(self._submissions)
        self._jobs = max(FEWEST, len(claims) // PARTS)
        self._documents = max(1, min(DOCUMENTS, room // 2))
        #: Place among the claims -> job, of those that were read and not handed over.
        self._ready: dict[int, ReadJob] = {}
        self._ready_documents = 0
        #: Of those, whose turn it is; the others wait for the rest of their submission.
        self._turn: set[int] = set()
        self._waiting: dict[Submission, list[int]] = defaultdict(list)
        self._given = self._taken = 0
        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reading: asyncio.Task[None] | None = None
        self._room = asyncio.Event()

    def read(self, store: ObjectStore, settings: Settings, now: datetime) -> None:
        """Reads all; what it raises is kept for the loader."""
        try:
            asyncio.run(self._read(store, settings, now))
        except BaseException as error:  # noqa: BLE001 - it is raised where the jobs are waited for
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def parts(self) -> Iterator[list[ReadJob]]:
        """The jobs in parts, in the order of the claims within each; waits for them.

        Jobs of one submission are given together where there are not too many of them, so that their collection is
        loaded once.

        Raises:
            Exception: whatever reading raised.
        """
        while not self.through:
            with self._changed:
                self._changed.wait_for(lambda: self._error is not None or self._enough())
                if self._error is not None:
                    raise self._error
                part = self._take()
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._room.set)
            yield part

    @property
    def through(self) -> bool:
        """Whether all jobs were given."""
        return self._taken == len(self._claims)

    def stop(self) -> None:
        """Ends reading, where it has not ended."""
        with self._changed:
            self._stopped = True
            if self._loop is not None and self._reading is not None:
                self._loop.call_soon_threadsafe(self._reading.cancel)

    async def _read(self, store: ObjectStore, settings: Settings, now: datetime) -> None:
        with self._changed:
            if self._stopped:
                return
            self._loop = asyncio.get_running_loop()
            self._reading = asyncio.current_task()
        try:
            await read_each(self._claims, store, settings, now, self._give)
        finally:
            with self._changed:
                # From here on the loop may be closed, and nothing in it waits any more.
                self._loop = self._reading = None

    async def _give(self, number: int, job: ReadJob) -> None:
        submission = self._submissions[number]
        with self._changed:
            self._given += 1
            self.seconds = time.monotonic() - self._began
            self._ready[number] = job
            self._ready_documents += len(job.pins)
            self._unread[submission] -= 1
            self._waiting[submission].append(number)
            if not self._unread[submission] or self._jobs_of[submission] > self._jobs:
                self._turn.update(self._waiting.pop(submission))
            full = self._full()
            if full:
                self._room.clear()
            if self._enough():
                self._changed.notify_all()
        if full:
            await self._room.wait()

    def _full(self) -> bool:
        return self._ready_documents >= self._documents

    def _enough(self) -> bool:
        return len(self._turn) >= self._jobs or self._full() or self._given == len(self._claims)

    def _take(self) -> list[ReadJob]:
        if not self._turn or self._given == len(self._claims):
            # Of a submission that there is no room for, a part comes first.
            self._turn.update(self._ready)
            self._waiting.clear()
        part = [self._ready.pop(number) for number in sorted(self._turn)]
        self._turn.clear()
        self._taken += len(part)
        self._ready_documents -= sum(len(job.pins) for job in part)
        return part
