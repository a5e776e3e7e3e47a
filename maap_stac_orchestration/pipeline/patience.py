"""Doing a transaction again when others were in its way.

Here belongs which failures of a transaction pass by themselves, how often it is tried, and the pauses between. Not
here: what the transactions do.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from psycopg import errors

from maap_stac_orchestration.pgstac.items import CollectionMissing, ItemsLost

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: How often something is tried when others are in its way, and the longest pause between two tries, seconds.
TRIES = 5
PAUSE = 2.0

#: What ends by itself when the other one is done. Everything else is a failure.
PASSING = (
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
    # A time constraint of the partition was tightened by somebody between the check and the load.
    errors.CheckViolation,
    errors.ObjectInUse,
    CollectionMissing,
    ItemsLost,
)


def persistently(work: Callable[[], _T], what: str, passing: tuple[type[Exception], ...] = PASSING) -> _T:
    """Does it, and again after a short pause when others were in the way; the last failure is raised.

    Args:
        work: a transaction of its own, from its beginning to its end.
        what: what it does, for the log.
        passing: the failures that end by themselves.
    """
    for number in range(1, TRIES):
        try:
            return work()
        except passing as error:
            pause = random.uniform(0, min(PAUSE, 0.1 * 2**number))  # noqa: S311  # nothing secret about it
            _log.warning("Try %d of %s failed, again in %.2f s: %s", number, what, pause, error)
            time.sleep(pause)
    return work()
