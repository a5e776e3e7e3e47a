"""The sensor `notifications`: who asked for it is told of jobs that ended.

A sensor in Dagster's sense, which asks for no run. Here belongs how long a tick may take and what it says. Not here:
making deliveries and sending them (`maap_stac_orchestration.pipeline.notify`). Where Dagster does not run, `maap-stac
notify --follow` does the same.

No `from __future__ import annotations` in this module: Dagster reads the annotations of a sensor's arguments.
"""

import time

import dagster as dg

from sensors.events import events_of
from sensors.resources import Connect, LoadSettings

#: Seconds between ticks. The daemon looks at sensors every five seconds; were this five as well, a tick that began a
#: moment late would make the next one miss its turn.
_INTERVAL = 4
#: Seconds in which a tick begins to send; a try that has begun may take ten more, and Dagster gives a tick 60.
_SECONDS = 20.0


@dg.sensor(
    minimum_interval_seconds=_INTERVAL,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells webhooks and topics of jobs that ended, and writes reports beside catalogs where those are switched on;"
        " asks for no run. What a receiver does not take is tried again, with growing waits."
    ),
)
def notifications(settings: dg.ResourceParam[LoadSettings], ledger: dg.ResourceParam[Connect]) -> dg.SkipReason:
    """One tick. Without the database it fails; a receiver that does not answer makes no tick fail."""
    deadline = time.monotonic() + _SECONDS
    from maap_stac_orchestration.pipeline.notify import notify

    with events_of("notifications"), ledger() as conn:
        return dg.SkipReason(str(notify(conn, settings(), deadline=deadline)))
