"""Buckets of which the groups are the same and all else is not, for tests that count requests.

Functions of a module, since the process that serves the buckets calls them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial

DAY = date(2025, 8, 19)
GROUPS = [
    f"{user}/dps_output/{algorithm}/v1/{tag}"
    for user in ("ana", "bob", "shared/cid")
    for algorithm in ("flood", "fire")
    for tag in ("", "one/", "two/deep/")
]
TAGS = 1_200
_CONTENT = b"{}"


def bucket(others: int = 10, years: int = 1, files: int = 3, strangers: int = 0) -> Iterator[tuple[str, bytes]]:
    """A job of each group on the day, with jobs of other days around it.

    Args:
        others: objects of each group's other days, four to a job.
        years: over which they are spread, this one and those before.
        files: that each job of the day wrote, beside its catalog; in the order of keys before and behind it.
        strangers: objects of the same users that are no outputs of jobs.
    """
    for group in GROUPS:
        job = f"{group}{DAY:%Y/%m/%d}/12/00/00/000000/"
        yield f"{job}catalog.json", _CONTENT
        yield from ((f"{job}{'az'[number % 2]}/{number:06}.tif", _CONTENT) for number in range(files))
        for number in range(others // 4):
            day = DAY - timedelta(days=1 + number * 7919 % (365 * years))
            other = f"{group}{day:%Y/%m/%d}/00/00/00/{number:06}/"
            yield from ((f"{other}{name}", _CONTENT) for name in ("catalog.json", "a.json", "a.tif", "o.met.json"))
    for number in range(strangers):
        yield f"ana/notebooks/{number}/data.nc", _CONTENT
        yield f"shared/cid/notebooks/{number}/data.nc", _CONTENT


#: Name -> what fills it.
BUCKETS = {
    "few": bucket,
    "many-objects-of-other-days": partial(bucket, others=10_000),
    "many-years": partial(bucket, others=10_000, years=10),
    "many-files-of-each-job": partial(bucket, files=10_000),
    "many-strangers": partial(bucket, strangers=10_000),
}


def tags(count: int) -> Iterator[tuple[str, bytes]]:
    """A job of the day for each of so many tags."""
    for number in range(count):
        yield f"ana/dps_output/flood/v1/run-{number}/{DAY:%Y/%m/%d}/12/00/00/000000/catalog.json", _CONTENT


def labyrinth(count: int) -> Iterator[tuple[str, bytes]]:
    """Objects at the end of long ways, each of its own, that are hardly any outputs of jobs."""
    for number in range(count):
        yield f"eve/dps_output/a/v/{number}/{'x/' * 480}y", _CONTENT
        yield f"eve/dps_output/a/v/t/{number}/{'//' * 400}y", _CONTENT
        yield f"eve/dps_output/a/v/d{number}/{'2024/' * 150}y", _CONTENT
        yield f"eve/dps_output/a/v/{number}/{'2024/07/' * 100}{DAY:%Y/%m/%d}/12/00/00/000000/catalog.json", _CONTENT


BUCKETS |= {"tags": partial(tags, TAGS), "labyrinth": partial(labyrinth, 50)}
