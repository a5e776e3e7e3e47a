"""Jobs, decisions and the registry as JSON documents in the contract's form, the same for HTTP and the command line.

Here belongs the form of what the ledger knows when it leaves the system. Not here: questions to the ledger (`jobs`),
and how documents are sent or printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from maap_stac_orchestration.ledger.changes import Change
from maap_stac_orchestration.ledger.decisions import DecisionPage
from maap_stac_orchestration.ledger.lineage import Lineage
from maap_stac_orchestration.ledger.records import (
    WITHOUT_DAGSTER,
    GroupSummary,
    JobDetail,
    JobItem,
    JobPage,
    RecordedDecision,
    Transition,
    timestamp,
)
from maap_stac_orchestration.ledger.registries import RecordedLoad


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where links lead. A link whose address is not known is left out."""

    #: The API, without a slash at the end.
    api: str | None = None
    #: The Dagster UI, without a slash at the end.
    dagster: str | None = None

    def job(self, prefix: str, rel: str = "self") -> list[dict[str, str]]:
        """Links to a job; of a job to itself where nothing else is said."""
        return self._link(rel, self.api, f"/jobs/{quote(prefix, safe='')}", "application/json")

    def page(self, prefix: str, rel: str = "status") -> list[dict[str, str]]:
        """Links to the page for people about a job."""
        return self._link(rel, self.api, f"/status/{quote(prefix, safe='')}", "text/html")

    def run(self, run_id: str | None) -> list[dict[str, str]]:
        """Links to a Dagster run; none where it was no run of Dagster's, as with `maap-stac ingest`."""
        if not run_id or run_id.startswith(WITHOUT_DAGSTER):
            return []
        return self._link("run", self.dagster, f"/runs/{quote(run_id, safe='')}", "text/html")

    def item(self, collection: str | None, item_id: str) -> list[dict[str, str]]:
        """Links to an item in the STAC API."""
        if collection is None:
            return []
        path = f"/collections/{quote(collection, safe='')}/items/{quote(item_id, safe='')}"
        return self._link("item", self.api, path, "application/geo+json")

    def collection(self, collection: str) -> list[dict[str, str]]:
        """Links to a collection in the STAC API."""
        return self._link("collection", self.api, f"/collections/{quote(collection, safe='')}", "application/json")

    def entry(self, id: int) -> list[dict[str, str]]:
        """Links of an entry of the registry to itself."""
        return self._link("self", self.api, f"/registry/grants/{id}", "application/json")

    @staticmethod
    def _link(rel: str, base: str | None, path: str, kind: str) -> list[dict[str, str]]:
        return [{"rel": rel, "href": base + path, "type": kind}] if base else []


def page_document(page: JobPage, links: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """What `GET /jobs` and `jobs --json` give."""
    return {"jobs": [job.to_document() for job in page.jobs], "links": list(links)}


def job_document(detail: JobDetail, addresses: Addresses) -> dict[str, Any]:
    """What `GET /jobs/{prefix}` and `show --json` give: the job with every state, decision, problem and item.

    `items` and `problems`, which are counts and codes in a list of jobs, are here in full; the counts are `counts`.
    """
    job = detail.summary
    short = job.to_document()
    links = [*addresses.job(job.prefix), *addresses.page(job.prefix), *addresses.run(job.run_id)]
    for collection in job.collections:
        links += addresses.collection(collection)
    return {
        **short,
        "bucket": job.bucket,
        "counts": short["items"],
        "collections": list(job.collections),
        "discovered": timestamp(job.discovered),
        "due": None if job.due is None else timestamp(job.due),
        "wait_until": None if detail.wait_until is None else timestamp(detail.wait_until),
        "attempt": detail.attempt,
        "run_id": job.run_id,
        "states": [_state(transition, addresses) for transition in detail.transitions],
        "decisions": [_decision(decision) for decision in detail.decisions],
        "problems": list(detail.problems),
        "items": [_item(item, job.bucket, addresses) for item in detail.items],
        "catalogs": [
            {
                "href": f"s3://{job.bucket}/{catalog.key}",
                "etag": catalog.etag,
                "last_modified": timestamp(catalog.last_modified),
                "source": catalog.source,
                "seen": timestamp(catalog.seen_at),
                "current": catalog.current,
            }
            for catalog in detail.catalogs
        ],
        "links": links,
    }


def summary_document(groups: Sequence[GroupSummary], by: Sequence[str]) -> dict[str, Any]:
    """What `GET /jobs/summary` gives: counts by state for each group."""
    return {
        "by": list(by),
        "groups": [
            {
                **{field: group.group[field] for field in by},
                "jobs": group.jobs,
                "states": dict(group.states),
                "items": {
                    "loaded": group.loaded,
                    "unchanged": group.unchanged,
                    "fallback": group.fallback,
                    "refused": group.refused,
                },
                "updated": timestamp(group.updated),
            }
            for group in groups
        ],
    }


def trail_document(page: DecisionPage, addresses: Addresses, links: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """What `GET /decisions` and `decisions --json` give: decisions with whose job it was, newest first."""
    return {"decisions": [_recorded(decision, addresses) for decision in page.decisions], "links": list(links)}


def lineage_document(found: Lineage, addresses: Addresses) -> dict[str, Any]:
    """What `lineage --json` gives of what the ledger knows: where an item comes from. What is null is not known."""
    item, job = found.item, found.job
    bucket = None if job is None else job.summary.bucket
    ended = found.ended
    return {
        "collection": item.collection,
        "id": item.id,
        "written": timestamp(found.written),
        "content_hash": item.content_hash,
        "source": {
            "href": None if bucket is None else f"s3://{bucket}/{item.source_key}",
            "key": item.source_key,
            "etag": item.source_etag,
            "sha256": item.source_sha256,
            "version_id": None if found.document is None else found.document.version_id,
            "size": None if found.document is None else found.document.size,
        },
        "catalogs": [
            {
                "href": f"s3://{bucket}/{one.key}",
                "etag": one.etag,
                "version_id": one.version_id,
                "last_modified": timestamp(one.last_modified),
                "current": one.current,
            }
            for one in found.catalogs
        ],
        "job": None
        if job is None
        else {
            **job.summary.to_document(),
            "bucket": job.summary.bucket,
            "links": [*addresses.job(job.summary.prefix), *addresses.page(job.summary.prefix)],
        },
        "decision": None if found.decision is None else _decision(found.decision),
        "run": None
        if item.run_id is None
        else {
            "id": item.run_id,
            "attempt": None if found.began is None else found.began.attempt,
            "began": None if found.began is None else timestamp(found.began.at),
            "ended": None if ended is None else timestamp(ended.at),
            "state": None if ended is None else str(ended.state),
            "links": addresses.run(item.run_id),
        },
        "others": [
            {
                "prefix": one.prefix,
                "time": timestamp(one.time),
                "state": str(one.state),
                "result": str(one.result),
                "source": f"s3://{one.bucket}/{one.source_key}",
                "links": addresses.job(one.prefix),
            }
            for one in found.others
        ],
        "others_complete": found.others_complete,
        "links": addresses.item(item.collection, item.id),
    }


def _recorded(recorded: RecordedDecision, addresses: Addresses) -> dict[str, Any]:
    collection = recorded.decision.collection
    return {
        "prefix": recorded.job_prefix,
        "username": recorded.username,
        "algorithm": recorded.algorithm,
        "version": recorded.version,
        "tag": recorded.tag,
        **_decision(recorded),
        "links": [
            *addresses.job(recorded.job_prefix, "job"),
            *addresses.run(recorded.run_id),
            *(addresses.collection(collection) if collection else ()),
        ],
    }


def entry_document(
    *,
    id: int | None,
    kind: str,
    document: Mapping[str, Any],
    source: str,
    by: str | None,
    at: datetime | None,
    reason: str | None,
    label: str,
    revoked: Change | None = None,
    addresses: Addresses | None = None,
) -> dict[str, Any]:
    """An entry of the registry as `GET /registry/grants` and `registry list --json` give it.

    Keys that its kind does not have are null or empty: a team has no `collection`, and only a team has `team`.
    """
    return {
        "id": id,
        "kind": kind,
        "collection": document.get("collection"),
        "team": document.get("team"),
        "users": list(document.get("users", ())),
        "algorithms": list(document.get("algorithms", ())),
        "create": bool(document.get("create", False)),
        "on_denied": document.get("on_denied"),
        "template": dict(document.get("template", {})),
        "source": source,
        "by": by,
        "at": None if at is None else timestamp(at),
        "reason": reason,
        "label": label,
        "revoked": None
        if revoked is None
        else {"by": revoked.by, "at": timestamp(revoked.at), "reason": revoked.reason, "change": revoked.id},
        "links": [] if id is None or addresses is None else addresses.entry(id),
    }


def change_document(change: Change) -> dict[str, Any]:
    """A change in the trail of governance, as `GET /registry/history` gives it."""
    return {
        "id": change.id,
        "at": timestamp(change.at),
        "by": change.by,
        "via": str(change.via),
        "action": str(change.action),
        "subject": change.subject,
        "reason": change.reason,
        "detail": dict(change.detail),
    }


def load_document(load: RecordedLoad) -> dict[str, Any]:
    """A registry that was put in force or refused, as `registry history --json` gives it."""
    return {
        "at": timestamp(load.at),
        "registry_version": load.version,
        "source": load.source,
        "ok": load.error is None,
        "error": load.error,
    }


def _state(transition: Transition, addresses: Addresses) -> dict[str, Any]:
    return {
        "state": str(transition.state),
        "at": timestamp(transition.at),
        "attempt": transition.attempt,
        "run_id": transition.run_id,
        "reason": transition.reason,
        "links": addresses.run(transition.run_id),
    }


def _decision(recorded: RecordedDecision) -> dict[str, Any]:
    decision = recorded.decision
    return {
        "decision": str(decision.code),
        "outcome": str(decision.outcome),
        "collection": decision.collection,
        "requested": decision.requested,
        "rule": decision.rule,
        "message": decision.message,
        "registry_version": decision.registry_version,
        "at": timestamp(recorded.at),
        "run_id": recorded.run_id,
    }


def _item(item: JobItem, bucket: str, addresses: Addresses) -> dict[str, Any]:
    return {
        "id": item.id,
        "result": str(item.result),
        "collection": item.collection,
        "requested_collection": item.requested_collection,
        "source": f"s3://{bucket}/{item.source_key}",
        "links": [] if item.result == "refused" else addresses.item(item.collection, item.id),
    }
