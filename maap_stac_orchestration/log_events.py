"""Structured log events: one line of JSON each, with stable names, for those who watch a deployment.

Here belongs which events there are, what their fields mean, and how a line is written. Not here: when they happen; that
is said by whoever does it, after it was committed. docs/log-events.md is made from the table below.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars

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


@dataclass(frozen=True, slots=True)
class Description:
    """What an event tells."""

    #: When it is written, a sentence.
    when: str
    #: Field -> what it holds. Every line of the event has all of them; a value may be null.
    fields: Mapping[str, str]


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
        "A collection was made, described anew, deleted or given to another owner by a person.",
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
}


def emit(event: Event, **fields: Any) -> None:
    """Writes an event, with whatever `bound` added.

    Raises:
        TypeError: the fields are not those of the event.
    """
    if fields.keys() != EVENTS[event].fields.keys():
        named, described = sorted(fields), sorted(EVENTS[event].fields)
        raise TypeError(f"the event {event} has the fields {described}, and was given {named}")
    _log().info(str(event), **fields)


def bound(**fields: Any) -> AbstractContextManager[None]:
    """Adds fields to every event that is written within, for example `run_id` or `request_id`."""
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


def _log() -> Any:
    return structlog.wrap_logger(
        logging.getLogger(LOGGER),
        processors=[
            merge_contextvars,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.BoundLogger,
    )
