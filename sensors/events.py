"""Log events of a sensor's tick: one line of JSON each in the code server's stderr.

Here belongs that a tick's events are written and name the sensor, since no run does. Not here: which events there are
(`maap_stac_orchestration.log_events`) and when they happen (the library).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from maap_stac_orchestration import log_events


@contextmanager
def events_of(sensor: str) -> Iterator[None]:
    """Sends the events that are written within to stderr, each with the sensor's name."""
    log_events.to_stderr()
    with log_events.bound(sensor=sensor):
        yield
