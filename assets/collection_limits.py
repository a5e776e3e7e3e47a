"""The check `room_for_more`: whether the database server has room for as many collections as there are.

Here belongs what the check tells. Not here: how that is found (`maap_stac_orchestration.pgstac.limits`). Each upkeep of
collections evaluates it, which follows within a minute when a new one was written to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from maap_stac_orchestration.pgstac.limits import Locks

CHECK = "room_for_more"


def spec(asset: str) -> dg.AssetCheckSpec:
    """The check as it is declared with its asset."""
    return dg.AssetCheckSpec(
        CHECK,
        asset=asset,
        description=(
            "The server has locks enough for searches over all collections. Yellow while there is time, red once two"
            " such searches at the same time can fail, and loads beside them."
        ),
    )


def result(found: Locks) -> dg.AssetCheckResult:
    """What the check says."""
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=not found.scarce,
        severity=dg.AssetCheckSeverity.ERROR if found.exhausted else dg.AssetCheckSeverity.WARN,
        description=f"{found.message} {found.fix}" if found.scarce else "There is room for more collections.",
        metadata={
            "collections": found.collections,
            "locks_of_a_search_over_all": found.per_search,
            "locks_of_the_server": found.room,
            "searches_at_the_same_time": found.at_once,
        },
    )
