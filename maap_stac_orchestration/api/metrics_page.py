"""The page docs/metrics.md, made from the tables of metrics.

Here belongs the page's text and the example rules on it. Not here: the metrics (`metrics`, `pipeline.metrics`). Make it
anew with `python -m maap_stac_orchestration.api.metrics_page > docs/metrics.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from maap_stac_orchestration.api.metrics import LEDGER, REQUESTS, Description
from maap_stac_orchestration.pipeline.metrics import METRICS

#: Prometheus rules, as they stand on the page; a test looks up every metric in them.
RULES = """groups:
  - name: maap-stac
    rules:
      - alert: MaapStacLedgerDoesNotAnswer
        expr: max without (instance, pod) (maap_stac_up) == 0
        for: 5m
        annotations:
          summary: The ledger gives no metrics. Look at /_mgmt/health; it says which part is not ready.
      - alert: MaapStacLagTooHigh
        expr: >
          histogram_quantile(0.95, max without (instance, pod) (rate(maap_stac_lag_seconds_bucket[15m]))) > 60
        for: 10m
        annotations:
          summary: One of twenty jobs takes more than a minute from its catalog to its end.
      - alert: MaapStacNobodyTakesWorkOn
        expr: max without (instance, pod) (maap_stac_oldest_due_seconds{work="live"}) > 300
        for: 5m
        annotations:
          summary: A job is due and no run takes it on. See whether the daemon and the sensor new_catalogs are well.
      - alert: MaapStacJobsFailed
        expr: max without (instance, pod) (increase(maap_stac_jobs_ended_total{state="failed"}[1h])) > 0
        annotations:
          summary: Jobs were given up. `maap-stac jobs --state failed` names them; `maap-stac retry` tries them again.
      - alert: MaapStacNotificationsDead
        expr: max without (instance, pod) (maap_stac_deliveries{state="dead"}) > 0
        annotations:
          summary: Notifications were given up. `maap-stac webhook deliveries` tells which, `redeliver` tries again.
      - alert: MaapStacNotificationsWait
        expr: max without (instance, pod) (maap_stac_deliveries{state="pending"}) > 1000
        for: 15m
        annotations:
          summary: More notifications wait than go out. See whether the sensor notifications runs and receivers answer.
      - alert: MaapStacRegistryRefused
        expr: max without (instance, pod) (maap_stac_registry_loads) == 0
        for: 5m
        annotations:
          summary: The registry file does not load; the last good one decides. `maap-stac doctor` says what is wrong.
"""

_INTRODUCTION = """# Metrics

There are two ways to watch a deployment by numbers: Prometheus asks the API, or CloudWatch reads the logs of runs. Both
tell of jobs, items, decisions and lag; neither tells names that users choose, so the number of series is bounded and
stays so. For single jobs there are the [log events](log-events.md), `maap-stac jobs` and the status pages.

## Prometheus

`GET /_mgmt/metrics` answers in Prometheus' text format, or in OpenMetrics for who accepts that. Like `/_mgmt/health` it
asks for no token, also where reading is closed: it tells numbers and no names. Where even those are nobody's business,
let the proxy in front keep `/_mgmt/` to itself.

```yaml
scrape_configs:
  - job_name: maap-stac
    metrics_path: /_mgmt/metrics
    static_configs:
      - targets: ["stac.example.org:443"]
    scheme: https
```

Most metrics are read from the ledger, so they are true for all runs on all machines, survive restarts, and are the same
from whichever process of the API they come. Scrape several processes and each tells all of it: take the `max`, never
the `sum`, over instances. A scrape takes 10 ms of the database at a million jobs, and a tenth of a second while all of
them are due; whoever scrapes meanwhile shares its answer. Where the database does not answer within four seconds, the
answer still comes, with `maap_stac_up 0`.

### Of the ledger"""

_REQUESTS_INTRODUCTION = """### Of a process of the API

These count the requests of the one process that answers, from its start: here `sum` over instances is right. Processes
that share a port (`uvicorn --workers`) would answer in turns, so start one process a port, or a container. There are
the usual `process_` metrics too (CPU seconds, memory, open files)."""

_RULES_INTRODUCTION = """### Example rules

The limits are examples; the first of them says more than a minute, where a stack on two cores takes some seconds."""

_EMBEDDED_INTRODUCTION = """## CloudWatch

With `MAAP_STAC_METRICS_NAMESPACE` set (for example `MAAP/STAC`), each batch that a run, or `maap-stac ingest`, brings
to its end is also one line in CloudWatch's embedded metric format in its log, written after the commit. Where the log
driver brings stderr of runs to CloudWatch Logs, CloudWatch makes metrics of these lines; nothing is called, and no
right is needed but that to write logs. A line that is lost is not written again: the ledger, and with it Prometheus, is
what counts for good.

There are no dimensions: each value of one would be a metric to be paid for, and there are as many algorithms as users
think of. `run_id` and `batch` stand in the line for CloudWatch Logs Insights, which can also count the event
`job.ended` by user, algorithm or tag. A claim that gives up jobs writes a line with `JobsFailed` alone."""

_ALARM = """For example, an alarm when jobs are given up:

```bash
aws cloudwatch put-metric-alarm --alarm-name maap-stac-jobs-failed --namespace MAAP/STAC --metric-name JobsFailed \\
  --statistic Sum --period 300 --evaluation-periods 1 --threshold 0 --comparison-operator GreaterThanThreshold \\
  --treat-missing-data notBreaching
```

and by words what Prometheus is told above: `Lag` (statistic p95, 15 minutes, above 60), and metric filters over the log
events `registry.refused`, `notification.dead` and `run.failed`, which have the level `error`."""


def documentation() -> str:
    """The page, in Markdown."""
    parts = [
        _INTRODUCTION,
        _table(LEDGER),
        _REQUESTS_INTRODUCTION,
        _table(REQUESTS),
        _RULES_INTRODUCTION,
        f"```yaml\n{RULES}```",
        _EMBEDDED_INTRODUCTION,
        "\n".join(
            [
                "| metric | unit | tells |",
                "| --- | --- | --- |",
                *(f"| `{metric}` | {unit} | {meaning} |" for metric, (unit, meaning) in METRICS.items()),
            ]
        ),
        _ALARM,
    ]
    return "\n\n".join(parts) + "\n"


def _table(described: Mapping[str, Description]) -> str:
    rows = [
        f"| `{name}{'_total' if one.kind == 'counter' else ''}` | {one.kind} | {one.meaning} | {_labels(one)} |"
        for name, one in described.items()
    ]
    return "\n".join(["| metric | type | tells | labels |", "| --- | --- | --- | --- |", *rows])


def _labels(one: Description) -> str:
    return "; ".join(f"`{label}`: {values}" for label, values in one.labels.items())


if __name__ == "__main__":
    sys.stdout.write(documentation())
