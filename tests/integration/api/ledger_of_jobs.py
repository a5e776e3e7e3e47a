"""A ledger with jobs of every kind, for tests of what people see of them.

Here belongs a world to look at: what a bad day leaves behind, in a handful of jobs. Not here: what tests expect of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg

from maap_stac_orchestration.dps.output_prefix import parse_output_prefix
from maap_stac_orchestration.governance.decision import Decision, DecisionCode, Outcome
from maap_stac_orchestration.ledger.outcomes import finish
from maap_stac_orchestration.ledger.records import ItemResult, JobItem, JobNames, State
from maap_stac_orchestration.problems import Code, Problem
from tests.integration.ledger.build import discover, ended, let_leases_run_out, seen, take

Connection = psycopg.Connection[tuple[Any, ...]]

DAY = date(2026, 3, 4)

#: What a hostile user could call an algorithm, an item, a tag: markup, quotes, a turn of direction, a word without end.
HOSTILE_TAG = '"><script>document.title="owned"</script>'
HOSTILE_ID = "<img src=x onerror=alert(1)>'\"&amp;\u202egpj.exe"
LONG_WORD = "x" * 400


@dataclass(frozen=True, slots=True)
class Known:
    """The output prefixes of jobs by what became of them."""

    loaded: str
    partial: str
    rejected: str
    failed: str
    waiting: str
    discovered: str
    hostile: str
    large: str


def prefix(username: str, algorithm: str, tag: str | None, number: int, *, day: int = 4) -> str:
    """An output prefix of 2026-03-04; later numbers ran later."""
    time = datetime(2026, 3, day, 5, number // 60, number % 60, 417, tzinfo=UTC)
    return f"{username}/dps_output/{algorithm}/v0.1.1/{f'{tag}/' if tag else ''}{time:%Y/%m/%d/%H/%M/%S/%f}/"


def fill(conn: Connection, *, more: int = 40, items: int = 10_000) -> Known:
    """Fills the ledger.

    Args:
        conn: the database.
        more: loaded jobs of the large submission.
        items: of the job with more of them than a page shows.
    """
    mosaic, canopy = "HLSCloudFreeTemporalMosaic", "boreal-canopy-height"
    known = Known(
        loaded=prefix("henrydevseed", mosaic, "demo", 1),
        partial=prefix("henrydevseed", mosaic, "demo", 2),
        rejected=prefix("henrydevseed", mosaic, "demo", 3),
        failed=prefix("ana", canopy, "alaska-2025", 4),
        waiting=prefix("ana", canopy, "alaska-2025", 5),
        discovered=prefix("ana", canopy, "alaska-2025", 6),
        hostile=prefix("mallory", "a<b>&c", HOSTILE_TAG.replace("/", "|"), 7),
        large=prefix("ana", canopy, None, 8),
    )
    # What never came to an end broke its runs.
    discover(conn, seen(known.failed))
    for attempt in range(5):
        take(conn, run_id=f"{attempt}0b5c1d2-aaaa-4bbb-8ccc-0123456789ab", day=DAY)
        let_leases_run_out(conn)
    take(conn, run_id="7d0c2f11-aaaa-4bbb-8ccc-0123456789ab", day=DAY)
    many = [prefix("ana", canopy, "alaska-2025", 100 + number) for number in range(more)]
    others = (known.loaded, known.partial, known.rejected, known.waiting, known.hostile, known.large)
    discover(conn, *(seen(one, "9b2cf535f27731c974343645a3985328") for one in (*others, *many)))
    batch = take(conn, run_id="4f1d52c8-aaaa-4bbb-8ccc-0123456789ab", day=DAY)
    claims = {claim.prefix: claim for claim in batch.jobs}

    def end(job: str, state: State, **told: Any) -> Any:
        place = parse_output_prefix(job)
        names = JobNames(place.algorithm, place.version, told.pop("tag", place.tag))
        return ended(claims[job], state, names=names, **told)

    default = f"henrydevseed__{mosaic}__v0.1.1__demo"
    finish(
        conn,
        batch,
        [
            end(
                known.loaded,
                State.LOADED,
                loaded=3,
                decisions=(_default(default),),
                collections=(default,),
                items=_items(known.loaded, ("mosaic-T34", "mosaic-T35", "mosaic-T36"), default),
            ),
            end(
                known.partial,
                State.PARTIAL,
                loaded=3,
                fallback=2,
                refused=1,
                problems=(
                    Problem(Code.ASSET_MISSING, "mosaic-T37: thumbnail", "It names thumb.png."),
                    Problem(Code.GEOMETRY_INVALID, "mosaic-T40", "The ring crosses itself at 24.1, 60.2."),
                    Problem(Code.USER_NOT_AUTHORIZED, "maap-mosaics", None),
                ),
                decisions=(
                    Decision(
                        DecisionCode.USER_NOT_AUTHORIZED,
                        Outcome.FALLBACK,
                        default,
                        "maap-mosaics",
                        "grant maap-*",
                        "No grant for maap-mosaics names henrydevseed, so the items go to the default collection.",
                        "5a0f3c7e91d2",
                    ),
                    _default(default),
                ),
                collections=(default,),
                items=(
                    *_items(known.partial, ("mosaic-T37",), default, requested="maap-mosaics"),
                    *_items(known.partial, ("mosaic-T38", "mosaic-T39"), default),
                    JobItem("mosaic-T40", ItemResult.REFUSED, known.partial + "mosaic-T40.json"),
                ),
            ),
            end(
                known.rejected,
                State.REJECTED,
                problems=(Problem(Code.IDENTITY_MISMATCH, "hrodmn", "The key says henrydevseed."),),
            ),
            end(known.waiting, State.WAITING, loaded=2, problems=(Problem(Code.LINK_MISSING, "tile-7/tile-7.json"),)),
            end(
                known.hostile,
                State.PARTIAL,
                tag=HOSTILE_TAG,
                loaded=1,
                refused=1,
                problems=(Problem(Code.ITEM_ID_UNSAFE, HOSTILE_ID, f"It is {HOSTILE_ID} {LONG_WORD}."),),
                decisions=(_default(LONG_WORD[:120]),),
                collections=(LONG_WORD[:120],),
                items=(
                    JobItem(HOSTILE_ID, ItemResult.REFUSED, known.hostile + "x.json", None, HOSTILE_TAG),
                    JobItem(LONG_WORD, ItemResult.LOADED, known.hostile + "y.json", LONG_WORD[:120]),
                ),
            ),
            end(
                known.large,
                State.LOADED,
                loaded=items,
                collections=("ana__tiles",),
                items=_items(known.large, [f"tile-{number:05}" for number in range(items)], "ana__tiles"),
            ),
            *(end(job, State.LOADED, loaded=25, collections=("ana__canopy",)) for job in many),
        ],
    )
    conn.commit()
    discover(conn, seen(known.discovered))
    return known


def _default(collection: str) -> Decision:
    return Decision(
        DecisionCode.DEFAULT_ASSIGNED,
        Outcome.DEFAULT,
        collection,
        None,
        "nothing requested",
        f"No collection was requested, so the items go to the job's default collection {collection}.",
        "5a0f3c7e91d2",
    )


def _items(job: str, ids: Sequence[str], collection: str, requested: str | None = None) -> tuple[JobItem, ...]:
    return tuple(JobItem(id, ItemResult.LOADED, f"{job}{id}/{id}.json", collection, requested) for id in ids)
