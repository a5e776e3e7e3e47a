"""What the page of one job tells: its way, decisions, problems, items, catalogs, and how to try it again.

Here belongs the page's view of a job in full: what comes first, how much of it, where links lead. Not here: the ledger
(`ledger.jobs`), words of problems and decisions (they come with them), and the HTML.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from maap_stac_orchestration.api.pages.chart import Chart, Mosaic, Placed, addresses, chart
from maap_stac_orchestration.api.pages.collection import collection_page
from maap_stac_orchestration.api.pages.rendering import ROOT, address
from maap_stac_orchestration.api.pages.tiles import Rendering, Tiler, mosaic_ids
from maap_stac_orchestration.api.pages.words import STATES, job_sentence
from maap_stac_orchestration.dps.output_prefix import within_job
from maap_stac_orchestration.ledger.deliveries import Delivery
from maap_stac_orchestration.ledger.documents import Addresses
from maap_stac_orchestration.ledger.records import (
    TERMINAL,
    ItemResult,
    JobDetail,
    JobItem,
    RecordedCatalog,
    RecordedDecision,
    State,
    Transition,
)
from maap_stac_orchestration.pgstac.footprints import Footprint
from maap_stac_orchestration.problems import ProblemDocument
from maap_stac_orchestration.settings import Settings

#: Entries of each kind that a page shows; the rest is counted, and the JSON document has all.
MOST = 50
#: Previews that a page asks the tiler for.
MOST_PREVIEWS = 12

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True)
class Bounded(Generic[_Entry]):
    """The first entries of a list, and how many there are."""

    shown: tuple[_Entry, ...]
    total: int

    @property
    def more(self) -> int:
        """How many are not shown."""
        return self.total - len(self.shown)


@dataclass(frozen=True, slots=True)
class Step:
    """The job came into a state."""

    state: State
    label: str
    at: datetime
    #: How long it stayed; None for where it is now.
    stayed: timedelta | None
    attempt: int
    run_id: str | None
    run_page: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item of the job."""

    id: str
    #: As the map calls it; None where it is not in pgstac.
    key: str | None
    result: ItemResult
    collection: str | None
    #: Where it asked to go, when that is somewhere else.
    requested: str | None
    source: str
    api: str | None
    browser: str | None
    preview: str | None


@dataclass(frozen=True, slots=True)
class JobView:
    """All that the page tells."""

    prefix: str
    bucket: str
    state: State
    label: str
    sentence: str
    username: str
    algorithm: str
    version: str
    tag: str | None
    time: datetime
    updated: datetime
    #: When it is tried again; None for ended jobs.
    due: datetime | None
    wait_until: datetime | None
    jobs_page: str
    user_page: str
    run_page: str | None
    collections: Bounded[tuple[str, str]]
    steps: Bounded[Step]
    errors: int
    warnings: int
    problems: Bounded[ProblemDocument]
    #: The last one about each collection that the items ask for.
    decisions: Bounded[RecordedDecision]
    #: Those that they took the place of, newest first.
    earlier: Bounded[RecordedDecision]
    items: Bounded[ItemRow]
    #: Result -> number of items, the frequent ones first.
    results: tuple[tuple[str, int], ...]
    #: Of the items that are shown; None where none of them is in pgstac.
    map: Chart | None
    catalogs: Bounded[RecordedCatalog]
    #: Who was told that it ended, newest first; at most `MOST`.
    deliveries: tuple[Delivery, ...]
    #: The command that tries it again.
    retry: str
    #: Whether something will still happen by itself.
    moving: bool


def job_view(
    detail: JobDetail,
    deliveries: Sequence[Delivery],
    lie: Sequence[Placed],
    renderings: Mapping[str, Rendering],
    settings: Settings,
    base: str,
) -> JobView:
    """The view of a job.

    Args:
        detail: what the ledger knows of it.
        deliveries: who was told that it ended, newest first.
        lie: the items of `shown_items` that are in pgstac, on the map.
        renderings: collection -> how its items are shown.
        settings: where other parts of the system are.
        base: the path under which the application is served.
    """
    job = detail.summary
    dagster = settings.dagster_url.rstrip("/") if settings.dagster_url else None
    addresses = Addresses(api=base or None, dagster=dagster)
    results = Counter(str(item.result) for item in detail.items)
    names = {"username": job.username, "algorithm": job.algorithm, "version": job.version, "tag": job.tag}
    run = addresses.run(job.run_id)
    # Errors first, then what may be left as it is; in each the order in which they were told.
    short = within_job(job.prefix)
    problems: list[ProblemDocument] = [
        {**problem, "message": short(problem["message"])}
        for problem in sorted(detail.problems, key=lambda problem: problem["severity"] != "error")
    ]
    in_force, before = detail.told_decisions()
    errors = sum(problem["severity"] == "error" for problem in problems)
    return JobView(
        prefix=job.prefix,
        bucket=job.bucket,
        state=job.state,
        label=STATES[job.state].label,
        sentence=job_sentence(job, older=results[ItemResult.OLDER]),
        username=job.username,
        algorithm=job.algorithm,
        version=job.version,
        tag=job.tag,
        time=job.time,
        updated=job.updated,
        due=job.due if job.state in (State.DISCOVERED, State.WAITING) else None,
        wait_until=detail.wait_until if job.state is State.WAITING else None,
        jobs_page=address(f"{base}{ROOT}/jobs", names),
        user_page=address(base + ROOT, {"username": job.username}),
        run_page=run[0]["href"] if run else None,
        collections=_bounded([(id, collection_page(base, id)) for id in job.collections]),
        steps=_bounded(_steps(detail.transitions, addresses), last=True),
        errors=errors,
        warnings=len(problems) - errors,
        problems=_bounded(problems),
        decisions=_bounded(in_force),
        earlier=_bounded(before),
        items=Bounded(
            tuple(
                _item_row(item, job.bucket, renderings if position < MOST_PREVIEWS else {}, settings, base)
                for position, item in enumerate(shown_items(detail))
            ),
            len(detail.items),
        ),
        results=tuple(results.most_common()),
        map=chart(
            lie, address(f"{base}{ROOT}/footprints", {"prefix": job.prefix}), _mosaics(lie, renderings, settings)
        ),
        catalogs=_bounded(detail.catalogs, last=True),
        deliveries=tuple(deliveries),
        retry=f"maap-stac retry {'--force ' if job.state is State.LOADED else ''}{shlex.quote(job.prefix)}",
        moving=job.state not in TERMINAL,
    )


def shown_items(detail: JobDetail) -> list[JobItem]:
    """The items that the page shows: what was refused needs a look and comes first."""
    return sorted(detail.items, key=lambda item: item.result is not ItemResult.REFUSED)[:MOST]


def shown_places(detail: JobDetail) -> Mapping[str, list[str]]:
    """Collection -> ids of those of them that are there."""
    places: dict[str, list[str]] = {}
    for item in shown_items(detail):
        if item.collection is not None and item.result is not ItemResult.REFUSED:
            places.setdefault(item.collection, []).append(item.id)
    return places


def placed(detail: JobDetail, collection: str, footprints: Sequence[Footprint]) -> list[Placed]:
    """A job's items of one collection on its map."""
    results = {item.id: item.result for item in shown_items(detail) if item.collection == collection}
    return [Placed(one, collection, str(results[one.id])) for one in footprints]


def _mosaics(lie: Sequence[Placed], renderings: Mapping[str, Rendering], settings: Settings) -> list[Mosaic]:
    """The job's items as pictures, one for each collection that says how its items are shown."""
    if not settings.tiler_url:
        return []
    tiler, found = Tiler(settings.tiler_url), []
    for collection, shown in renderings.items():
        ids = mosaic_ids([one.footprint.id for one in lie if one.collection == collection])
        if ids:
            title = shown.title if len(renderings) == 1 else f"{shown.title} of {collection}"
            tiles, tilejson = tiler.tiles(collection, shown, ids=ids), tiler.tilejson(collection, shown, ids=ids)
            found.append(Mosaic(title, tiles, tilejson, only_footprints=True))
    return found


def _bounded(entries: Sequence[_Entry], *, last: bool = False) -> Bounded[_Entry]:
    return Bounded(tuple(entries[-MOST:] if last else entries[:MOST]), len(entries))


def _steps(transitions: Sequence[Transition], addresses: Addresses) -> list[Step]:
    steps = []
    for position, one in enumerate(transitions):
        following = transitions[position + 1].at if position + 1 < len(transitions) else None
        run = addresses.run(one.run_id)
        steps.append(
            Step(
                state=one.state,
                label=STATES[one.state].label,
                at=one.at,
                # How long an ended job stayed so before somebody asked again says nothing.
                stayed=None if following is None or one.state in TERMINAL else following - one.at,
                attempt=one.attempt,
                run_id=one.run_id,
                run_page=run[0]["href"] if run else None,
                reason=one.reason,
            )
        )
    return steps


def _item_row(
    item: JobItem, bucket: str, renderings: Mapping[str, Rendering], settings: Settings, base: str
) -> ItemRow:
    key, found = None, dict.fromkeys(("api", "browser", "preview"))
    if item.collection is not None and item.result is not ItemResult.REFUSED:
        key = f"{item.collection}/{item.id}"
        found = addresses(item.collection, item.id, renderings.get(item.collection), settings, base)
    return ItemRow(
        id=item.id,
        key=key,
        result=item.result,
        collection=item.collection,
        requested=item.requested_collection if item.requested_collection != item.collection else None,
        source=f"s3://{bucket}/{item.source_key}",
        api=found["api"],
        browser=found["browser"],
        preview=found["preview"],
    )
