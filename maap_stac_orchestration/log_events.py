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
from enum import StrEnum
from functools import cache
from typing import Any, Literal

#: The logger whose messages are the lines.
LOGGER = "maap_stac_orchestration.events"


class Event(StrEnum):
    """Every event, by the name that stands in its line."""

    DECISION = "governance.decision"
    REGISTRY_LOADED = "registry.loaded"
    REGISTRY_REFUSED = "registry.refused"
    REGISTRY_CHANGED = "registry.changed"
    COLLECTION_CHANGED = "collection.changed"
    TOKEN_CHANGED = "token.changed"  # noqa: S105  # the name of an event
    IDS_MOVED = "collection.items_moved"
    RUN_FAILED = "run.failed"


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
}

#: Those of the common fields that `bound` adds.
_BINDABLE = frozenset({"run_id", "request_id"})

_REGISTRY_VERSION = "the version of the registry, the beginning of a SHA-256"

#: One row an event.
EVENTS: dict[Event, Description] = {
    Event.DECISION: Description(
        "A governance decision was taken and is in the audit trail.",
        {
            "job": "the output prefix of the job",
            "username": "whose job it is",
            "algorithm": "the algorithm's name",
            "version": "the algorithm's version",
            "tag": "the job's tag, or null",
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
        "A person made, changed, deleted or handed over a collection, or a job of its owner described it.",
        {
            "change": "the number of the change in the audit trail",
            "action": "collection_created, collection_changed, collection_deleted or collection_transferred",
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
    return "\n\n".join([_INTRODUCTION, _table(COMMON), _EVENTS_INTRODUCTION, *map(_section, Event)]) + "\n"


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

Every decision and every change of what decides is also one line of JSON in the log, for those who watch a deployment
with tools of their own. The names of events and fields are stable: new ones may come, none changes its meaning. A line
is written after what it tells was committed, so nothing that stands in the log was taken back; what proves a decision
is the audit trail (`maap-stac decisions`, `GET /decisions`), which has all of them also when a process is killed.

The lines go to stderr of the process in which it happened: a Dagster run (in the UI, the run's `stderr` tab), Dagster's
code server (for its sensors), the API, or a `maap-stac` command whose stderr is no terminal. Other lines may stand
between them; those that begin with `{{"event":` are events. A value is text, a number or null, everything outside ASCII
is escaped, and a line feed in a value is `\\n`, so an event is always one line.

```json
{json.dumps(_EXAMPLE)}
```

For example, all denials of a run whose stderr was saved:

```bash
grep '^{{"event": "governance.decision"' stderr.log | jq -c 'select(.outcome == "fallback" or .outcome == "reject")'
```

## Fields of every line

`run_id` and `request_id` are left out where they do not apply."""

_EVENTS_INTRODUCTION = """## Events

Each line has every field of its event; a value may be null."""


def _section(event: Event) -> str:
    description = EVENTS[event]
    return f"### `{event}`\n\n{description.when} Level {description.level}.\n\n{_table(description.fields)}"


def _table(fields: Mapping[str, str]) -> str:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in fields.items()]
    return "\n".join(["| field | holds |", "| --- | --- |", *rows])


if __name__ == "__main__":
    sys.stdout.write(documentation())
