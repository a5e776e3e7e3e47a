"""The DPS as its users meet it: a stand-in for the client of maap-py whose jobs write what the demo's algorithm writes.

Here belong submitting a job and asking what became of it, by the names that maap-py has for both, so that a notebook
differs in one line. Not here: what the jobs write (`outputs`) and uploading it (`submit`).
"""

from __future__ import annotations

import re
import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from maap_stac_orchestration.demo import jobs
from maap_stac_orchestration.demo.jobs import BOX_SIZE, Box, DemoJob, Layout
from maap_stac_orchestration.demo.outputs import SIZE
from maap_stac_orchestration.demo.submit import BucketUnavailable, Submitted, s3_client, submit

#: Jobs that run at the same time.
_WORKERS = 3
_BBOX = re.compile(r"\s*(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s*")


class JobRefused(ValueError):
    """The simulated DPS cannot run such a job; the message says what it runs."""


class SimulatedJob:
    """A job that was submitted, by the names of maap-py's DPSJob: `id`, `status`, `outputs`, `error_details`."""

    def __init__(self, bucket: str, run: Future[Submitted]) -> None:
        self._bucket = bucket
        self._run = run
        #: Identifies the job, a UUID.
        self.id = str(uuid.uuid4())
        #: As it was when it was last asked for: Accepted, Running, Succeeded or Failed.
        self.status = "Accepted"
        #: The address of the output prefix, once the job has succeeded.
        self.outputs: list[str] = []
        #: What went wrong, once it has failed.
        self.error_details: str | None = None

    def __repr__(self) -> str:
        return f"<SimulatedJob {self.id}: {self.status}>"

    def retrieve_status(self) -> str:
        """Asks for the status anew, and gives it."""
        if self._run.done():
            self._ended()
        else:
            self.status = "Running" if self._run.running() else "Accepted"
        return self.status

    def wait_for_completion(self) -> SimulatedJob:
        """Waits until the job has succeeded or failed; gives itself."""
        # Whatever it failed of is told by status and error_details, as the real one does.
        self._run.exception()
        self._ended()
        return self

    def _ended(self) -> None:
        failure = self._run.exception()
        if failure is None:
            self.status = "Succeeded"
            self.outputs = [f"s3://{self._bucket}/{self._run.result().prefix}"]
        elif isinstance(failure, BucketUnavailable):
            self.status = "Failed"
            self.error_details = str(failure)
        else:
            raise failure


class SimulatedMAAP:
    """Takes the place of maap-py's `MAAP` for the demo's algorithm; its jobs run here, a few at a time.

    Args:
        bucket: where the jobs write; whose it is, the AWS_* variables of the environment say.
        size: pixels along each side of the images.
    """

    def __init__(self, bucket: str, *, size: int = SIZE) -> None:
        self._bucket = bucket
        self._size = size
        self._client = s3_client()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="simulated-dps")
        self._lock = threading.Lock()
        self._last = datetime.min.replace(tzinfo=UTC)

    def submitJob(  # noqa: N802  # maap-py calls it so
        self,
        identifier: str,
        algo_id: str,
        version: str,
        queue: str,
        retrieve_attributes: bool = False,
        **kwargs: Any,
    ) -> SimulatedJob:
        """Submits a job; returns at once.

        Args:
            identifier: the tag of the job.
            algo_id: the algorithm's name, which is the demo's.
            version: its version, which is the demo's.
            queue: any; there is none here.
            retrieve_attributes: whether to ask for the status at once.
            **kwargs: the algorithm's inputs as texts: `start_datetime` and `end_datetime`, the first and last second
                of a month (`2024-06-01T00:00:00Z`), `bbox`, a square of the grid (`xmin ymin xmax ymax` in metres),
                and `crs`. And `username`, which maap-py knows by itself.

        Raises:
            JobRefused: the simulated DPS has no such algorithm, or it does not take these inputs.
        """
        del queue
        if (algo_id, version) != (jobs.ALGORITHM, jobs.VERSION):
            raise JobRefused(
                f"There is no algorithm {algo_id} {version} here; the simulated one is {jobs.ALGORITHM} {jobs.VERSION}."
            )
        if not identifier:
            raise JobRefused("The identifier is empty; give the jobs a tag, by which their outputs are told apart.")
        job = _demo_job(identifier, kwargs)
        submitted = SimulatedJob(self._bucket, self._pool.submit(self._execute, job))
        if retrieve_attributes:
            submitted.retrieve_status()
        return submitted

    def _execute(self, job: DemoJob) -> Submitted:
        done: list[Submitted] = []
        submit(self._client, self._bucket, [job], now=self._time(), on_done=done.append, size=self._size)
        (one,) = done
        return one

    def _time(self) -> datetime:
        """Now, but no time twice: it tells the jobs' prefixes apart."""
        with self._lock:
            self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
            return self._last


def _demo_job(tag: str, inputs: dict[str, Any]) -> DemoJob:
    given = dict(inputs)
    username = given.pop("username", jobs.USERNAME)
    if username != jobs.USERNAME:
        raise JobRefused(f"Jobs run as {jobs.USERNAME} here, not as {username}; leave username out.")
    wanted = {"start_datetime", "end_datetime", "bbox", "crs"}
    if set(given) != wanted:
        wrong = ", ".join(sorted(set(given) ^ wanted))
        raise JobRefused(f"The inputs are {', '.join(sorted(wanted))}; look at {wrong}.")
    if str(given["crs"]).lower() != f"epsg:{jobs.EPSG}":
        raise JobRefused(f"The grid of the simulated landscape is in epsg:{jobs.EPSG}, not in {given['crs']}.")
    start, end = _second(given, "start_datetime"), _second(given, "end_datetime")
    # The layout with a folder for the tag: in today's, `maap-stac demo` would take jobs with other tags for its own.
    job = DemoJob(_box(given["bbox"]), start.year, start.month, Layout.OLDER, tag)
    if (job.start, job.end) != (start, end):
        raise JobRefused(
            f"The mosaic of {start:%B %Y} takes start_datetime {job.start:%Y-%m-%dT%H:%M:%SZ} "
            f"and end_datetime {job.end:%Y-%m-%dT%H:%M:%SZ}; other spans are not simulated."
        )
    return job


def _second(given: dict[str, Any], name: str) -> datetime:
    try:
        return datetime.strptime(str(given[name]), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise JobRefused(f"{name} is {given[name]!r}; write it as 2024-06-01T00:00:00Z.") from None


def _box(bbox: object) -> Box:
    written = _BBOX.fullmatch(str(bbox))
    if written is None:
        raise JobRefused(f"bbox is {bbox!r}; write four whole metres, xmin ymin xmax ymax, with spaces between them.")
    left, bottom, right, top = (int(edge) for edge in written.groups())
    box = Box(left // BOX_SIZE, bottom // BOX_SIZE)
    if box.bounds != (left, bottom, right, top):
        raise JobRefused(
            f"bbox {bbox} is no square of the grid, whose corners are multiples of {BOX_SIZE} m in epsg:{jobs.EPSG}."
        )
    return box
