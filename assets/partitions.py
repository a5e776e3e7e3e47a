"""How the assets are partitioned: a UTC day of output prefixes, or a collection.

Here belongs what a partition is. Not here: which partitions are worked on when (`sensors`).
"""

from __future__ import annotations

import dagster as dg

from maap_stac_orchestration.discovery.days import first_day
from maap_stac_orchestration.settings import Settings

#: Days of output prefixes; with the offset of one, today is a partition from midnight on. A setting that cannot be used
#: raises its sentence here, which Dagster shows as the reason why the code does not load.
DAYS = dg.DailyPartitionsDefinition(
    start_date=first_day(Settings.from_environment()).isoformat(), timezone="UTC", end_offset=1
)

#: Collection ids, added by the sensor `collections_changed` when items are first written to one.
COLLECTIONS = dg.DynamicPartitionsDefinition(name="stac_collections")
