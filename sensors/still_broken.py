"""The sensor `still_broken`: the standing check over everything that is broken is brought up to date by itself.

A sensor in Dagster's sense, which asks for no run. Here belongs when the check `nothing_broken` is evaluated. Not here:
what it says (`assets.still_broken`) and how the ledger is asked (`maap_stac_orchestration.ledger.still_broken`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of a sensor's arguments.
"""

import json
import time

import dagster as dg

from sensors.resources import Connect, LoadSettings, TellStillBroken

#: The asset of the check.
_ASSET = "pgstac_items"
#: Jobs in the table of the newest.
_MOST_JOBS = 20
#: Seconds after which the same is told once more: an evaluation by hand that took long may have been stored after a
#: newer one.
_AGAIN = 3600.0


@dg.sensor(
    minimum_interval_seconds=14,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Counts what is broken or stuck, whichever day it is of, and evaluates the check nothing_broken when that has"
        " changed or pgstac_items was materialized; asks for no run."
    ),
)
def still_broken(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
    tell_still_broken: dg.ResourceParam[TellStillBroken],
) -> dg.SensorResult:
    """One tick. The cursor is what was last told, when, and after which materialization.

    Dagster takes a check for not evaluated once its asset is materialized anew, so it is told again after each run.
    """
    from maap_stac_orchestration.ledger import still_broken as ask

    fingerprint, told_at, told_after = json.loads(context.cursor) if context.cursor else ("", 0.0, None)
    # Before the ledger is asked: what is materialized meanwhile has the next tick tell again.
    (asset,) = context.instance.get_asset_records([dg.AssetKey(_ASSET)]) or (None,)
    latest = asset.asset_entry.last_materialization_storage_id if asset is not None else None
    with ledger() as conn:
        standing = ask.standing(conn)
        conn.commit()
        if (standing.fingerprint, latest) == (fingerprint, told_after) and time.time() - told_at < _AGAIN:
            return dg.SensorResult(skip_reason="As before.", cursor=context.cursor)
        found = ask.still_broken(conn, _MOST_JOBS)
    origin = context.code_location_origin
    where = {} if origin is None else {"location": origin.location_name}
    evaluation = tell_still_broken(found, settings(), **where)
    return dg.SensorResult(
        asset_events=[evaluation],
        skip_reason=evaluation.description or "Nothing is broken.",
        cursor=json.dumps([found.standing.fingerprint, time.time(), latest]),
    )
