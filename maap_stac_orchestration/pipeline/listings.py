"""What lies below each job's prefix: jobs that lie side by side are listed together, by a request for hundreds of them.

Here belongs how few requests tell the objects of a batch's jobs. Not here: what the objects are (`read`), and finding
jobs that nobody knows of yet (`discovery`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from os.path import commonprefix

from maap_stac_orchestration.dps.job import OutputPrefix
from maap_stac_orchestration.pipeline.walk import Reader
from maap_stac_orchestration.store.objects import PAGE, ListsInPages, ObjectInfo

#: Jobs that a page has to list whole, or the next one is not asked for: what is listed together comes page after page,
#: what is listed job by job comes all at once. A job of many objects, or many jobs of others between, end it that way.
_WORTH_A_PAGE = 4


class Listings:
    """The listings of a batch's jobs.

    Args:
        jobs: their buckets and prefixes.
        reader: whose store and slots are used. A store that lists in no pages is asked job by job.
        seconds: that one answer may take.
    """

    def __init__(self, jobs: Iterable[tuple[str, OutputPrefix]], reader: Reader, seconds: float) -> None:
        self._reader = reader
        self._seconds = seconds
        self._neighbours: dict[tuple[str, str], _Neighbours] = {}
        if not isinstance(reader.store, ListsInPages):
            return
        groups: dict[tuple[str, str], set[str]] = defaultdict(set)
        for bucket, prefix in jobs:
            groups[bucket, prefix.group].add(prefix.key)
        for (bucket, _), prefixes in groups.items():
            if len(prefixes) > 1:
                neighbours = _Neighbours(bucket, sorted(prefixes), reader, reader.store, seconds)
                self._neighbours |= {(bucket, prefix): neighbours for prefix in prefixes}

    async def of(self, bucket: str, prefix: str) -> Sequence[ObjectInfo]:
        """Every object of a job, in the order of the keys.

        Raises:
            TimeoutError: listing it took too long.
            StoreUnavailable: the store failed.
        """
        neighbours = self._neighbours.get((bucket, prefix))
        found = await neighbours.of(prefix) if neighbours is not None else None
        if found is not None:
            return found
        async with self._reader.slots, asyncio.timeout(self._seconds):
            return await self._reader.store.list(bucket, prefix)


class _Neighbours:
    """The jobs of one user, algorithm, version and tag, listed one page after another as their objects are wanted."""

    def __init__(
        self, bucket: str, prefixes: Sequence[str], reader: Reader, store: ListsInPages, seconds: float
    ) -> None:
        self._bucket = bucket
        self._prefixes = prefixes
        self._reader = reader
        self._store = store
        self._seconds = seconds
        # Not by path: what looks like two spellings of one path are two keys.
        common = commonprefix([prefixes[0], prefixes[-1]])  # noqa: RUF071
        self._common = common[: common.rfind("/") + 1]
        self._after = prefixes[0].removesuffix("/")
        # The job whose objects come next, and those of them that came.
        self._at = 0
        self._begun: list[ObjectInfo] = []
        self._found: dict[str, Sequence[ObjectInfo]] = {}
        self._over = False
        self._lock = asyncio.Lock()

    async def of(self, prefix: str) -> Sequence[ObjectInfo] | None:
        """The objects of a job; None where they are to be listed by themselves."""
        async with self._lock:
            while prefix not in self._found and not self._over:
                await self._next_page()
        return self._found.pop(prefix, None)

    async def _next_page(self) -> None:
        try:
            async with self._reader.slots, asyncio.timeout(self._seconds):
                page = await self._store.list_after(self._bucket, self._common, self._after)
        except TimeoutError:
            self._over = True
            return
        before = self._at
        if page is None:
            self._over = True
        elif not self._take(page):
            # A store that does not list in the order of the keys may bring more of a job after it was believed whole.
            self._found.clear()
            self._over = True
        elif len(page) < PAGE:
            while self._at < len(self._prefixes):
                self._whole()
            self._over = True
        else:
            self._over = self._at == len(self._prefixes) or self._at - before < _WORTH_A_PAGE

    def _take(self, page: Sequence[ObjectInfo]) -> bool:
        """Shares out the objects of a page; False where they are not in order."""
        for info in page:
            if info.key <= self._after:
                return False
            self._after = info.key
            while self._at < len(self._prefixes):
                prefix = self._prefixes[self._at]
                if info.key.startswith(prefix):
                    self._begun.append(info)
                    break
                if info.key < prefix:
                    break
                self._whole()
        return True

    def _whole(self) -> None:
        self._found[self._prefixes[self._at]] = self._begun
        self._begun = []
        self._at += 1
