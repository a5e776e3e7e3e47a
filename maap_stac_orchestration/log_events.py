"""Structured log events: one line of JSON each, with stable names, for those who watch a deployment.

Here belongs which events there are, what their fields mean, and how a line is written. Not here: when they happen; that
is said by whoever does it, after it was committed. docs/log-events.md is made from the tables below, by
`python -m maap_stac_orchestration.log_events > docs/log-events.md`.

structlog is imported with the first event: it takes a tenth of a second, which a command without events does without.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Literal

#: The logger whose messages are the lines.
LOGGER = "maap_stac_orchestration.events"

#: What stands for the name of an event in lines of `JsonLines`.
OTHER = "log"
#: Fields of such a line -> what they hold; after the common ones.
OTHER_FIELDS: dict[str, str] = {
    "logger": "the name of the logger",
    "message": "the message",
    "exception": "the traceback, or null",
}


class Event(StrEnum):
    """Every event, by the name that stands in its line."""

    JOBS_DISCOVERED = "jobs.discovered"
    MESSAGE_REFUSED = "queue.message_refused"
    BATCH_CLAIMED = "batch.claimed"
    STAGE_ENDED = "batch.stage_ended"
    BATCH_ENDED = "batch.ended"
    JOB_ENDED = "job.ended"
    JOB_WAITING = "job.waiting"
    JOB_FAILED = "job.failed"
    JOB_RETRIED = "job.retried"
    HTTP_REQUEST = "http.request"
    DECISION = "governance.decision"
    REGISTRY_LOADED = "registry.loaded"
    REGISTRY_REFUSED = "registry.refused"
    REGISTRY_CHANGED = "registry.changed"
    COLLECTION_CHANGED = "collection.changed"
    TOKEN_CHANGED = "token.changed"  # noqa: S105  # the name of an event
    IDS_MOVED = "collection.items_moved"
    RUN_FAILED = "run.failed"
    ENDPOINT_CHANGED = "endpoint.changed"
    NOTIFICATION_DEAD = "notification.dead"


@dataclass(frozen=True, slots=True)
class Description:
    """What an event tells."""

    #: When it is written, a sentence.
    when: str
    #: Field -> what it holds. Every line of the event has all of them; a value may be null.
    fields: Mapping[str, str]
    #: "error" where somebody has to do something.
    level: Literal["info", "error"] = "info"


#: Fields that a line of any event may have -> what they hold. They stand first, in this order.
COMMON: dict[str, str] = {
    "event": "the name of the event",
    "at": "when it was written, RFC 3339 in UTC",
    "level": "info, or error where somebody has to do something",
    "run_id": "the Dagster run, in lines of a run",
    "request_id": "the HTTP request, in lines of the API",
    "sensor": "the Dagster sensor, in lines of its ticks",
}

#: Those of the common fields that `bound` adds.
_BINDABLE = frozenset({"run_id", "request_id", "sensor"})

_JOB = {
    "job": "the output prefix of the job",
    "username": "whose job it is",
    "algorithm": "the algorithm's name",
    "version": "the algorithm's version",
    "tag": "the job's tag, or null",
}
_ITEMS = {
    "items_loaded": "items that were written",
    "items_unchanged": "items that were there already, as they are or newer",
    "items_fallback": "of both, those that were denied what they asked for",
    "items_refused": "items that were not loaded",
}
_BATCH = "the claim, a UUID"

_REGISTRY_VERSION = "the version of the registry, the beginning of a SHA-256"

#: One row an event.
EVENTS: dict[Event, Description] = {
    Event.JOBS_DISCOVERED: Description(
        "Versions of catalogs that were not known before are in the ledger.",
        {
            "source": "event, listing, inventory or request",
            "new": "versions of catalogs that had not been known",
            "known": "versions that had been known",
            "ignored": "keys that are no catalog of a job",
        },
    ),
    Event.MESSAGE_REFUSED: Description(
        "A message of the queue was not understood; SQS gives it again, and then moves it to the dead-letter queue.",
        {
            "queue": "the address of the queue",
            "message": "the message's id",
            "reason": "what is wrong with it",
        },
        level="error",
    ),
    Event.BATCH_CLAIMED: Description(
        "A run took on jobs of a day, or gave up jobs of it.",
        {"batch": _BATCH, "jobs": "how many jobs it took on", "jobs_failed": "how many it gave up instead"},
    ),
    Event.STAGE_ENDED: Description(
        "A stage is through with a batch.",
        {
            "batch": _BATCH,
            "stage": "read, decide or load",
            "jobs": "how many jobs it was about",
            "seconds": "how long it took",
        },
    ),
    Event.BATCH_ENDED: Description(
        "What a run took on came to an end, or the run broke off and this is what had ended by then.",
        {
            "batch": _BATCH,
            "jobs": "how many jobs of it have ended or wait",
            "jobs_loaded": "jobs of which every item is in its collection",
            "jobs_partial": "jobs of which some items were refused",
            "jobs_rejected": "jobs of which nothing could be loaded",
            "jobs_waiting": "jobs that wait for something that is not there yet",
            **_ITEMS,
            "seconds": "from the claim to the end",
        },
    ),
    Event.JOB_ENDED: Description(
        "A job came to its end in a run.",
        {
            **_JOB,
            "state": "loaded, partial or rejected",
            **_ITEMS,
            "problems": "the codes of its problems",
            "collections": "the ids of collections that hold items of it, at most 50 of them",
            "attempt": "which try it was, since the last one that came to an end",
            "lag_seconds": "from when its newest catalog was written to this end; days or years for old outputs",
        },
    ),
    Event.JOB_WAITING: Description(
        "A job lacks something that may still arrive: what is there is loaded, and it is tried again.",
        {
            **_JOB,
            **_ITEMS,
            "problems": "the codes of its problems so far",
            "attempt": "which try it was, since the last one that came to an end",
        },
    ),
    Event.JOB_FAILED: Description(
        "A job was given up, because too many runs broke off while they had it; the runs tell why.",
        {
            **_JOB,
            "attempts": "how often it was tried",
            "last_run_id": "the run that had it last, or null",
        },
        level="error",
    ),
    Event.JOB_RETRIED: Description(
        "Somebody asked to try jobs again, and they are due; a line for each request.",
        {
            "by": "who asked",
            "reason": "why, in their words, or nothing",
            "picked": "the output prefix, or what was picked by",
            "forced": "yes or no: whether loaded jobs, and jobs that a run held, were tried again too",
            "jobs": "how many jobs are tried again",
            "skipped": "how many were left as they are",
        },
    ),
    Event.HTTP_REQUEST: Description(
        "A request to the API was answered, or broke off. Health checks, pings and scrapes that succeed are left out.",
        {
            "method": "the HTTP method",
            "route": "the template of the path, or null where no route was reached",
            "path": "the path without its query, cut at 500 characters",
            "status": "the HTTP status, or null where the client went away before there was one",
            "milliseconds": "from the request to the end of the answer",
            "bytes": "size of the body that was sent, compressed where it was",
            "username": "who asked, by their token, or null",
        },
    ),
    Event.DECISION: Description(
        "A governance decision was taken and is in the audit trail.",
        {
            **_JOB,
            "requested": "the collection id that was asked for, or null",
            "decision": "the code of the decision",
            "outcome": "accept, default, fallback or reject",
            "collection": "the id of the collection that the items go to, or null",
            "rule": "the entry or rule that decided",
            "registry_version": _REGISTRY_VERSION,
        },
    ),
    Event.REGISTRY_LOADED: Description(
        "A registry of a version that was not in force before is in force.",
        {"registry_version": _REGISTRY_VERSION, "source": "where it comes from", "entries": "how many entries it has"},
    ),
    Event.REGISTRY_REFUSED: Description(
        "A registry file cannot be used; the last good one stays in force.",
        {
            "source": "the path or address of the file",
            "reason": "what is wrong with it",
            "registry_version": "the version that is in force instead, or null where none is",
        },
        level="error",
    ),
    Event.REGISTRY_CHANGED: Description(
        "Grants, denials, teams or reserved names in the database were changed.",
        {
            "change": "the number of the change in the audit trail",
            "action": "grant, revoke, team, reserve or import",
            "subject": "the pattern, team or file that it is about",
            "by": "who did it",
            "via": "cli or api",
            "reason": "why, in their words",
        },
    ),
    Event.COLLECTION_CHANGED: Description(
        "A person made, changed, deleted, restored or handed over a collection, or a job of its owner described it.",
        {
            "change": "the number of the change in the audit trail",
            "action": "collection_created, collection_changed, collection_deleted, collection_restored or "
            "collection_transferred",
            "collection": "the collection id",
            "by": "who did it",
            "via": "cli, api or job",
        },
    ),
    Event.TOKEN_CHANGED: Description(
        "A bearer token was made or revoked.",
        {
            "change": "the number of the change in the audit trail",
            "action": "token_created or token_revoked",
            "token": "the number of the token",
            "username": "whose token it is",
            "by": "who did it",
        },
    ),
    Event.IDS_MOVED: Description(
        "Items of a default collection were moved to the id of another template.",
        {
            "change": "the number of the change in the audit trail",
            "collection": "the id that they were in",
            "moved_to": "the id that they are in now",
            "items": "how many",
        },
    ),
    Event.RUN_FAILED: Description(
        "A Dagster run failed, and what it still held was given back.",
        {
            "job": "the name of the Dagster job",
            "partition": "the day or collection that it was about, or null where it was about several or none",
            "reason": "the message of the failure",
            "jobs_given_back": "how many DPS jobs it still held; 0 where it gave them back by itself",
        },
        level="error",
    ),
    Event.ENDPOINT_CHANGED: Description(
        "Somebody is told when jobs end from now on, or no more, or with another secret.",
        {
            "change": "the number of the change in the audit trail",
            "action": "endpoint_created, endpoint_removed or endpoint_rotated",
            "endpoint": "the number of the endpoint",
            "kind": "webhook or sns",
            "username": "whose jobs it is told of, or null for everyone's",
            "by": "who did it",
            "via": "cli, api, or notification where the receiver answered that it is gone",
        },
    ),
    Event.NOTIFICATION_DEAD: Description(
        "A notification that a job ended was given up after the last try; `maap-stac webhook redeliver` tries again.",
        {
            "delivery": "the number of the delivery",
            "job": "the output prefix of the job",
            "endpoint": "the number of the endpoint, or null for the report beside the catalog",
            "kind": "webhook, sns or report",
            "host": "the host of the webhook, the ARN of the topic, or the bucket of the report",
            "attempts": "how often it was tried",
            "answer": "what the last try came to",
        },
        level="error",
    ),
}


def emit(event: Event, **fields: Any) -> None:
    """Writes an event, with whatever `bound` added; a value that JSON does not know is written as its text.

    Raises:
        TypeError: the fields are not those of the event.
    """
    description = EVENTS[event]
    if fields.keys() != description.fields.keys():
        named, described = sorted(fields), sorted(description.fields)
        raise TypeError(f"the event {event} has the fields {described}, and was given {named}")
    if logging.getLogger(LOGGER).isEnabledFor(logging.INFO):
        getattr(_log(), description.level)(str(event), **{name: fields[name] for name in description.fields})


def bound(**fields: str | None) -> AbstractContextManager[None]:
    """Adds `run_id` or `request_id` to every event that is written within, in this thread or task.

    Raises:
        TypeError: it is another field; every field of a line is documented.
    """
    from structlog.contextvars import bound_contextvars

    if others := sorted(fields.keys() - _BINDABLE):
        raise TypeError(f"only {sorted(_BINDABLE)} can be bound, and {others} was given")
    return bound_contextvars(**fields)


def to_stderr() -> None:
    """Sends events to stderr, one JSON line each; for the entry points of processes, and safe to be called twice."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    # A handler of the root would write each line a second time, with a prefix that makes it no JSON.
    logger.propagate = False
    if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)


def write_line(document: Mapping[str, Any]) -> None:
    """Writes another line of JSON to where events go, for whoever has a format of its own (metrics)."""
    logging.getLogger(LOGGER).info(json.dumps(document, ensure_ascii=True))


def keep_bound(**fields: str) -> None:
    """Like `bound`, but until the task or thread ends: for a name that what follows an error is still to have."""
    from structlog.contextvars import bind_contextvars

    if others := sorted(fields.keys() - _BINDABLE):
        raise TypeError(f"only {sorted(_BINDABLE)} can be bound, and {others} was given")
    bind_contextvars(**fields)


class JsonLines(logging.Formatter):
    """Any message of Python's logging as one line of JSON, with what `bound` added."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; its fields are `COMMON` and `OTHER_FIELDS`."""
        from structlog.contextvars import get_contextvars

        line = {
            "event": OTHER,
            "at": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            **get_contextvars(),
            "logger": record.name,
            "message": record.getMessage(),
            "exception": self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else None,
        }
        return json.dumps(_common_first(None, "", line), ensure_ascii=True, default=str)


class _Stderr(logging.StreamHandler[Any]):
    """Writes to what is stderr at that moment, as logging's own handler of last resort does."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


@cache
def _log() -> Any:
    import structlog

    return structlog.wrap_logger(
        logging.getLogger(LOGGER),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _common_first,
            # ASCII only: some readers take U+2028 and its like, which JSON does not escape, for the end of a line, and
            # an id with half a surrogate pair could not be written at all.
            structlog.processors.JSONRenderer(ensure_ascii=True, default=str),
        ],
        wrapper_class=structlog.BoundLogger,
    )


def _common_first(_: Any, __: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in COMMON if name in line} | dict(line)


def documentation() -> str:
    """The page docs/log-events.md, in Markdown."""
    parts = [_INTRODUCTION, _table(COMMON), _EVENTS_INTRODUCTION, *map(_section, Event)]
    return "\n\n".join([*parts, _OTHERS_INTRODUCTION, _table(OTHER_FIELDS)]) + "\n"


_EXAMPLE = {
    "event": str(Event.DECISION),
    "at": "2025-11-21T05:03:12.482913Z",
    "level": "info",
    "run_id": "6cf2f2ba-6d3d-4a6c-9d4e-0f0f6d7f8a11",
    "job": "jjfrench/dps_output/flood-detector/v1.2/2025/11/21/05/02/44/118204/",
    "username": "jjfrench",
    "algorithm": "flood-detector",
    "version": "v1.2",
    "tag": None,
    "requested": "maap-floods",
    "decision": "granted",
    "outcome": "accept",
    "collection": "maap-floods",
    "rule": "the grant for maap-*",
    "registry_version": "0f3a9c51e7d2",
}

_INTRODUCTION = f"""# Log events

What happens to jobs, every decision, every change of what decides and every request to the API is also one line of
JSON in the log, for those who watch a deployment with tools of their own. The names of events and fields are stable:
new ones may come, none changes its meaning. A line is written after what it tells was committed, so nothing that stands
in the log was taken back; what proves a decision is the audit trail (`maap-stac decisions`, `GET /decisions`), which
has all of them also when a process is killed.

The lines go to stderr of the process in which it happened: a Dagster run (in the UI, the run's `stderr` tab), Dagster's
code server (for its sensors), the API, or a `maap-stac` command whose stderr is no terminal. Other lines may stand
between them; those that begin with `{{"event":` are events. A value is text, a number, null or a list of texts,
everything outside ASCII is escaped, and a line feed in a value is `\\n`, so an event is always one line.

```json
{json.dumps(_EXAMPLE)}
```

For example, all denials of a run whose stderr was saved:

```bash
grep '^{{"event": "governance.decision"' stderr.log | jq -c 'select(.outcome == "fallback" or .outcome == "reject")'
```

or what became of the jobs of a user, from whatever collects the lines:

```bash
jq -c 'select(.event == "job.ended" and .username == "jjfrench") | [.at, .job, .state, .problems]' events.log
```

## Fields of every line

`run_id`, `request_id` and `sensor` are left out where they do not apply. `maap-stac ingest` has a run id of its own,
and what a sensor's tick does has the sensor's name instead."""

_EVENTS_INTRODUCTION = """## Events

Each line has every field of its event; a value may be null."""

_OTHERS_INTRODUCTION = f"""## Other lines

The API that the local stack starts has its other messages (warnings, errors with their tracebacks, uvicorn's own) in
the same form, as `{OTHER}`, and so has any process that is told so: `uvicorn --log-config` with
`maap_stac_orchestration/api/log_config.json`, or `maap_stac_orchestration.log_events.JsonLines` as the formatter of a
handler. An error of the API bears the `request_id` of the request that broke. Where `MAAP_STAC_METRICS_NAMESPACE` is
set, lines that begin with `{{"_aws":` are [metrics for CloudWatch](metrics.md).

The level of these lines is that of the message: debug, info, warning, error or critical."""


def _section(event: Event) -> str:
    description = EVENTS[event]
    return f"### `{event}`\n\n{description.when} Level {description.level}.\n\n{_table(description.fields)}"


def _table(fields: Mapping[str, str]) -> str:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in fields.items()]
    return "\n".join(["| field | holds |", "| --- | --- |", *rows])


if __name__ == "__main__":
    sys.stdout.write(documentation())
