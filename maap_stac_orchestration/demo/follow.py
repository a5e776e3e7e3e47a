"""Following submitted jobs through the STAC API until their items are searchable, and showing what users would ask.

Here belongs everything that only a client sees: searches through pystac-client, and the status API for jobs that do not
come. Not here: the bucket (`submit`) and the database.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

from maap_stac_orchestration.demo import jobs
from maap_stac_orchestration.demo.submit import Submitted

if TYPE_CHECKING:
    from pystac_client import Client

_PAUSE = 0.5
#: The provenance property with the output prefix: an item of an earlier run of the same job has another.
_JOB_PREFIX = "maap:job_prefix"


class ApiUnavailable(Exception):
    """The STAC API does not answer; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the questions of MAAP's own example give."""

    #: What collections were searched for, and the ids of those that were found.
    user: str
    collections: tuple[str, ...]
    #: The collection and the day that items were searched for, and the ids of those that cover it.
    collection: str
    day: str
    items: tuple[str, ...]


def open_api(url: str) -> Client:
    """A pystac-client for the STAC API.

    Raises:
        ApiUnavailable: it does not answer, or is no STAC API.
    """
    from pystac_client import Client
    from pystac_client.exceptions import APIError

    try:
        client = Client.open(url)
    except (APIError, OSError, ValueError) as error:
        raise ApiUnavailable(f"The STAC API at {url} does not answer: {error}") from error
    return client


def searchable(client: Client, collection: str, submitted: Collection[Submitted]) -> set[Submitted]:
    """Which of the jobs have their item in a search.

    Raises:
        ApiUnavailable: the search failed.
    """
    from pystac_client.exceptions import APIError

    search = client.search(
        collections=[collection],
        ids=[one.job.item_id for one in submitted],
        fields={"include": ["id", f"properties.{_JOB_PREFIX}"]},
        limit=len(submitted),
    )
    by_item = {one.job.item_id: one for one in submitted}
    found: set[Submitted] = set()
    try:
        for item in search.items_as_dicts():
            one = by_item.get(item["id"])
            if one is not None and item["properties"].get(_JOB_PREFIX) == one.prefix:
                found.add(one)
    except (APIError, OSError) as error:
        raise ApiUnavailable(f"The search for the jobs' items failed: {error}") from error
    return found


def follow(
    client: Client,
    collection: str,
    submitted: Callable[[], tuple[Collection[Submitted], bool]],
    *,
    timeout: timedelta,
    on_found: Callable[[Submitted], None],
) -> tuple[Submitted, ...]:
    """Searches again and again until every job's item is there.

    Args:
        submitted: gives the jobs that are in the bucket by now, and whether they are all. The time runs from then on.

    Returns:
        The jobs whose items are not there after `timeout`; empty when all are.

    Raises:
        ApiUnavailable: a search failed.
    """
    found: set[Submitted] = set()
    deadline: float | None = None
    while True:
        known, complete = submitted()
        if complete and deadline is None:
            deadline = time.monotonic() + timeout.total_seconds()
        missing = tuple(one for one in known if one not in found)
        if missing:
            for one in searchable(client, collection, missing):
                found.add(one)
                on_found(one)
            missing = tuple(one for one in missing if one not in found)
        if deadline is not None and (not missing or time.monotonic() >= deadline):
            return missing
        time.sleep(_PAUSE)


def ask(client: Client, collection: str, day: str) -> Answers:
    """Asks what MAAP's example asks: which collections are the user's, and which items cover a day.

    Raises:
        ApiUnavailable: a search failed.
    """
    from pystac_client.exceptions import APIError

    try:
        collections = client.collection_search(q=jobs.USERNAME).collections_as_dicts()
        items = client.search(collections=[collection], datetime=day).items_as_dicts()
        return Answers(
            user=jobs.USERNAME,
            collections=tuple(sorted(one["id"] for one in collections)),
            collection=collection,
            day=day,
            items=tuple(sorted(one["id"] for one in items)),
        )
    except (APIError, OSError) as error:
        raise ApiUnavailable(f"The search failed: {error}") from error


def explain_missing(api_url: str, missing: Iterable[Submitted]) -> tuple[str, ...]:
    """One sentence for each job whose item did not come, from the status API."""
    return tuple(_reason(api_url, one) for one in missing)


def job_document(api_url: str, prefix: str) -> dict[str, Any] | None:
    """What the status API tells of a job; None before its catalog has come to notice.

    Raises:
        ApiUnavailable: it does not answer, or with an error.
    """
    url = f"{api_url.rstrip('/')}/jobs/{quote(prefix, safe='')}"
    try:
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - the operator's own API address
            document: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        if error.code == 404:
            return None
        raise ApiUnavailable(f"the status API answered {error.code}") from error
    except (URLError, OSError, ValueError) as error:
        raise ApiUnavailable(f"the status API does not answer ({error})") from error
    return document


def _reason(api_url: str, one: Submitted) -> str:
    try:
        job = job_document(api_url, one.prefix)
    except ApiUnavailable as error:
        return f"{one.prefix}: {error}."
    if job is None:
        return f"{one.prefix} is in the bucket, but its catalog.json has not come to notice yet."
    problems = [problem["code"] for problem in job["problems"]]
    because = f" because of {', '.join(sorted(set(problems)))}" if problems else ""
    return f"{one.prefix} is {job['state']}{because}."
