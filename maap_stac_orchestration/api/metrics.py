"""Metrics for Prometheus at `/_mgmt/metrics`: the ledger in numbers, and the requests of this process.

Here belongs which metrics there are, what they mean, and the forms in which they are told. Not here: measuring the
ledger (`ledger.metrics`), the metrics for CloudWatch (`pipeline.metrics`), and the page about all of them
(`metrics_page`).

What is told of the ledger is the same in each process that answers. Labels are codes, states and routes, never names
that users choose, so their number is bounded, and nobody's name is told to whoever may scrape.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import psycopg
from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

import maap_stac_orchestration
from maap_stac_orchestration.api.database import LedgerPool
from maap_stac_orchestration.ledger import metrics
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.metrics import Measures
from maap_stac_orchestration.settings import Settings

_log = logging.getLogger(__name__)

# Else each counter and histogram brings a second series with the time of its beginning, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

#: Seconds that a scrape waits for the ledger, connection included; Prometheus itself gives up after ten.
_PATIENCE = 4.0
#: What one question to the ledger may take.
_EACH = timedelta(seconds=3)

#: Methods that are told by name; a client may send any word.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Seconds; searches inside a collection take some hundredths, those over thousands of collections many seconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Description:
    """What a metric tells."""

    #: gauge, counter or histogram.
    kind: str
    #: A sentence with the unit, without its full stop.
    meaning: str
    #: Label -> what its values are.
    labels: Mapping[str, str]

    def names(self) -> list[str]:
        """The labels' names."""
        return list(self.labels)


_WORK = {"work": "live, or backlog for what a backfill or an inventory brought"}
_STATE = {"state": "discovered, ingesting, waiting, loaded, partial, rejected or failed"}

#: Metric, by its name in Prometheus -> what it tells. Counters are told with `_total` behind the name.
LEDGER: dict[str, Description] = {
    "maap_stac_up": Description("gauge", "1 where the ledger answered in time, else 0 and the rest is left out", {}),
    "maap_stac_scrape_seconds": Description("gauge", "Seconds that asking the ledger took", {}),
    "maap_stac_build_info": Description("gauge", "Always 1", {"version": "the version of this software"}),
    "maap_stac_jobs": Description("gauge", "Jobs that the ledger knows", _STATE),
    "maap_stac_due_jobs": Description(
        "gauge", f"Jobs that are due and that no run holds, counted up to {metrics.MOST_DUE:,}", _WORK
    ),
    "maap_stac_oldest_due_seconds": Description(
        "gauge", "Seconds since the longest waiting of those is due, 0 where there are none", _WORK
    ),
    "maap_stac_jobs_ended": Description(
        "counter",
        "Ends of jobs; one that is tried again ends again",
        {"state": "loaded, partial, rejected or failed"},
    ),
    "maap_stac_lag_seconds": Description(
        "histogram",
        "Seconds from the writing of a catalog to the end of its job, for live jobs that ended at their first go:"
        " neither backfills, nor jobs tried again, nor those that waited for something missing",
        {},
    ),
    "maap_stac_items": Description(
        "counter",
        "Items of jobs, each time a job was gone through",
        {"result": "loaded, unchanged or refused"},
    ),
    "maap_stac_fallback_items": Description(
        "counter", "Of the items loaded or unchanged, those that went to the default collection after a denial", {}
    ),
    "maap_stac_decisions": Description(
        "counter",
        "Decisions in the audit trail",
        {"code": "the code of the decision", "outcome": "accept, default, fallback or reject"},
    ),
    "maap_stac_problem_jobs": Description(
        "gauge", "Jobs that have a problem of a code at present", {"code": "the code of the problem"}
    ),
    "maap_stac_deliveries": Description(
        "gauge", "Notifications of ends of jobs at present", {"state": "pending, or dead after the last try"}
    ),
    "maap_stac_deliveries_completed": Description("counter", "Notifications that their receivers took", {}),
    "maap_stac_collections": Description("gauge", "Collections in pgstac", {}),
    "maap_stac_registry_loads": Description(
        "gauge",
        "1 where the registry file that is set loads, 0 where the last good one stands in for it; left out where none"
        " is set or none was tried yet",
        {},
    ),
}

_ROUTE = {
    "method": "the HTTP method, or other",
    "route": "the template of the path, or other where no route was reached",
}

REQUESTS: dict[str, Description] = {
    "maap_stac_http_requests": Description(
        "counter",
        "Requests that this process answered",
        {**_ROUTE, "status": "the HTTP status, or none where the client went away before"},
    ),
    "maap_stac_http_request_duration_seconds": Description(
        "histogram", "Seconds from a request to the end of its answer", _ROUTE
    ),
}


class RequestMetrics:
    """What this process counts of its requests; one for each application."""

    def __init__(self) -> None:
        """Begins at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        name = "maap_stac_http_requests"
        described = REQUESTS[name]
        self._requests = Counter(name, described.meaning, described.names(), registry=self.registry)
        name = "maap_stac_http_request_duration_seconds"
        described = REQUESTS[name]
        self._seconds = Histogram(name, described.meaning, described.names(), registry=self.registry, buckets=_BUCKETS)

    def observe(self, method: str, route: str | None, status: int | None, seconds: float) -> None:
        """Counts one request.

        Args:
            method: as it was sent.
            route: the template of the path, None where no route was reached.
            status: None where there was no answer.
            seconds: from its beginning to its end.
        """
        known, template = method if method in _METHODS else "other", route or "other"
        self._requests.labels(known, template, "none" if status is None else str(status)).inc()
        self._seconds.labels(known, template).observe(seconds)


def metrics_router(settings: Settings, requests: RequestMetrics) -> APIRouter:
    """The route."""
    router = APIRouter(prefix="/_mgmt", tags=["Liveliness/Readiness"])
    ledger = _Ledger(settings.registry)

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            200: {
                "description": "Metrics as text for Prometheus, or in the OpenMetrics format for who accepts it",
                "content": {"text/plain": {}, "application/openmetrics-text": {}},
            }
        },
        summary="Metrics for Prometheus",
    )
    async def prometheus(request: Request) -> Response:
        """The ledger in numbers and the requests of this process, also while the ledger does not answer."""
        encode, media_type = _encoder(request.headers.get("Accept", ""))
        began = time.perf_counter()
        measures = await ledger.measured(cast("LedgerPool", request.app.state.ledger_pool))
        told = _Told(measures, time.perf_counter() - began, requests.registry)
        return Response(encode(told), headers={"Content-Type": media_type, "Cache-Control": "no-store"})

    return router


class _Ledger:
    """Asks the ledger, one question at a time: whoever comes meanwhile shares the answer."""

    def __init__(self, registry: str | None) -> None:
        self._registry = registry
        self._asking: asyncio.Task[Measures | None] | None = None

    async def measured(self, pool: LedgerPool) -> Measures | None:
        """The ledger in numbers; None where it did not answer in time."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(self._measure, pool))
        try:
            async with asyncio.timeout(_PATIENCE):
                # Who scrapes may go away; the question goes on, so that no second one is put beside it.
                return await asyncio.shield(self._asking)
        except TimeoutError:
            _log.warning("The ledger gave no metrics within %.0f s", _PATIENCE)
            return None

    def _measure(self, pool: LedgerPool) -> Measures | None:
        try:
            with pool.connection(timeout=_EACH.total_seconds()) as connection:
                found = metrics.measure(connection, registry=self._registry, within=_EACH)
                self._keep_small(connection)
        except psycopg.Error as error:
            _log.warning("The ledger gives no metrics: %s", " ".join(str(error).split()))
            return None
        return found

    def _keep_small(self, connection: Connection) -> None:
        """The sensor does it too; where there is no Dagster, whoever reads the sums has to."""
        try:
            metrics.compact(connection)
        except psycopg.Error as error:
            _log.warning("What metrics count could not be brought together: %s", " ".join(str(error).split()))


class _Told(Collector):
    """All metrics of one scrape."""

    def __init__(self, measures: Measures | None, seconds: float, requests: CollectorRegistry) -> None:
        self._measures = measures
        self._seconds = seconds
        self._requests = requests

    def collect(self) -> Iterable[Metric]:
        """In the order of the tables."""
        yield _gauge("maap_stac_up", [((), self._measures is not None)])
        yield _gauge("maap_stac_scrape_seconds", [((), self._seconds)])
        yield _gauge("maap_stac_build_info", [((maap_stac_orchestration.__version__,), 1)])
        if self._measures is not None:
            yield from _of_ledger(self._measures)
        yield from self._requests.collect()


def _of_ledger(found: Measures) -> Iterator[Metric]:
    yield _gauge("maap_stac_jobs", [((state,), jobs) for state, jobs in found.jobs.items()])
    work = (("live", found.due), ("backlog", found.due_backlog))
    yield _gauge("maap_stac_due_jobs", [((name,), due.jobs) for name, due in work])
    yield _gauge("maap_stac_oldest_due_seconds", [((name,), due.oldest_seconds) for name, due in work])
    yield _counter("maap_stac_jobs_ended", [((state,), ends) for state, ends in found.ends.items()])
    yield _histogram("maap_stac_lag_seconds", found.lag.within, found.lag.seconds)
    results = ("loaded", "unchanged", "refused")
    yield _counter("maap_stac_items", [((result,), found.items[result]) for result in results])
    yield _counter("maap_stac_fallback_items", [((), found.items["fallback"])])
    yield _counter("maap_stac_decisions", list(found.decisions.items()))
    yield _gauge("maap_stac_problem_jobs", [((code,), jobs) for code, jobs in found.problems.items()])
    yield _gauge("maap_stac_deliveries", [((state,), some) for state, some in found.deliveries.items()])
    yield _counter("maap_stac_deliveries_completed", [((), found.delivered)])
    yield _gauge("maap_stac_collections", [((), found.collections)])
    loads = found.registry_loads
    yield _gauge("maap_stac_registry_loads", [] if loads is None else [((), loads)])


_Samples = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, samples: _Samples) -> Metric:
    described = LEDGER[name]
    family = GaugeMetricFamily(name, described.meaning, labels=described.names())
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def _counter(name: str, samples: _Samples) -> Metric:
    described = LEDGER[name]
    family = CounterMetricFamily(name, described.meaning, labels=described.names())
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def _histogram(name: str, within: Mapping[float, int], total: float) -> Metric:
    buckets = [("+Inf" if bound == math.inf else str(bound), float(some)) for bound, some in within.items()]
    return HistogramMetricFamily(name, LEDGER[name].meaning, buckets=buckets, sum_value=total)


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    # Not the library's own choice, which breaks on versions that are none. Our names need no escaping to be agreed on.
    accepted = {one.partition(";")[0].strip().lower() for one in accept.split(",")}
    if "application/openmetrics-text" in accepted:
        return openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest, CONTENT_TYPE_PLAIN_0_0_4
