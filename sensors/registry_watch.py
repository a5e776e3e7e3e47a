"""The sensor `registry_watch`: a registry that stops loading, or loads again, is told within a minute.

A sensor in Dagster's sense, which asks for no run. Here belongs when the check `registry_loads` is evaluated while no
job is due, so that it is green again as soon as the file is mended. Not here: what the check says
(`maap_stac_orchestration.pipeline.registry_health`) and its evaluation in runs (`assets`).

No `from __future__ import annotations` in this module: Dagster reads the annotations of a sensor's arguments.
"""

import json
from dataclasses import asdict

import dagster as dg

from sensors.events import events_of
from sensors.resources import Connect, LoadRegistry, LoadSettings

#: The check; `assets.ingest` defines it.
ASSET, CHECK = "governance_decisions", "registry_loads"


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Looks at the registry each minute. When another version is in force, or the file does not load any more, or"
        " loads again, evaluates the check registry_loads; asks for no run."
    ),
)
def registry_watch(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[LoadSettings],
    ledger: dg.ResourceParam[Connect],
    registry: dg.ResourceParam[LoadRegistry],
) -> dg.SensorResult:
    """One tick. The cursor is what was last told."""
    from maap_stac_orchestration.pipeline.registry import RegistryUnavailable
    from maap_stac_orchestration.pipeline.registry_health import registry_health

    current = settings()
    with events_of("registry_watch"), ledger() as conn:
        try:
            health = registry_health(current, registry(current, conn))
        except RegistryUnavailable as error:
            health = registry_health(current, error)
    told = json.dumps(asdict(health), sort_keys=True)
    if told == context.cursor:
        return dg.SensorResult(skip_reason=f"As before: {health.message}", cursor=told)
    evaluation = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(ASSET),
        check_name=CHECK,
        passed=health.loads,
        severity=dg.AssetCheckSeverity.ERROR,
        description=health.message,
        metadata={"registry_version": health.version, "file": health.file, "message": health.message},
    )
    return dg.SensorResult(asset_events=[evaluation], skip_reason=health.message, cursor=told)
