"""Walking the documents of one job: each is read once, level by level, and told in link order whatever arrives first.

Here belongs which documents are read, and the bounds on their depth, number, bytes and time. Not here: what is made of
a document (`read`, `catalog`) and where hrefs lead (`catalog.links`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from maap_stac_orchestration.catalog.links import Relation, Target
from maap_stac_orchestration.pipeline.batch import Pin, ReadItem
from maap_stac_orchestration.problems import Code, Problem
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import (
    Fetched,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
    ObjectUnreadable,
)

T = TypeVar("T")

#: So many links for each document that may be read are kept, refused and repeated ones with them.
_LINKS_PER_DOCUMENT = 4


@dataclass(slots=True)
class Document:
    """What a document turned out to be."""

    #: Where it leads; empty for items.
    links: Sequence[Target | Problem] = ()
    #: An item that passed every check.
    item: ReadItem | None = None
    #: A Collection document, ready to use.
    collection: Mapping[str, Any] | None = None
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """A link, with the one key that it means."""

    key: str
    relation: Relation
    #: As it stands in the document.
    href: str


@dataclass(slots=True)
class Node:
    """A place in the job that a link leads to, or its root."""

    key: str
    #: How it was first met; a root counts as a child.
    relation: Relation
    #: None where nothing was read.
    document: Document | None = None
    pin: Pin | None = None
    #: Why nothing was read; None as well where the cause is a bound of the whole job, which is told once.
    obstacle: Problem | None = None
    edges: Sequence[Edge | Problem] = ()


@dataclass(slots=True)
class _Excess:
    """What one bound of the whole job kept from being read."""

    first: str = ""
    count: int = 0

    def add(self, key: str) -> None:
        self.first = self.first or key
        self.count += 1


class Reader:
    """Reads objects of a bucket, not more at once than there are slots, whichever jobs they belong to."""

    def __init__(self, store: ObjectStore, concurrency: int) -> None:
        self.store = store
        self.concurrency = concurrency
        self.slots = asyncio.Semaphore(concurrency)


class Walk:
    """The documents of one job.

    Args:
        bucket: the job's bucket.
        files: the job's objects by key; nothing that is not among them is ever opened.
        reader: reads them.
        settings: how deep, how many, how large and how long.
        understand: makes something of a document's bytes; called once for each.
    """

    def __init__(
        self,
        *,
        bucket: str,
        files: Mapping[str, ObjectInfo],
        reader: Reader,
        settings: Settings,
        understand: Callable[[Fetched, Relation, Pin], Document],
    ) -> None:
        self.nodes: dict[str, Node] = {}
        self._bucket = bucket
        self._files = files
        self._reader = reader
        self._settings = settings
        self._understand = understand
        self._clock = asyncio.get_running_loop().time
        # The job's share of the time that the batch takes: jobs that are read beside it do not count against it.
        self._seconds = 0.0
        self._documents = 0
        self._bytes = 0
        self._links = 0
        self._too_many = _Excess()
        self._too_large = _Excess()
        self._too_long = _Excess()

    async def read_from(self, roots: Sequence[str]) -> None:
        """Reads what is at these keys, and all that it leads to.

        It goes level by level, since only so the bounds do not depend on which document arrives first.

        Raises:
            StoreUnavailable: the store failed.
        """
        level = [self._meet(key, "child") for key in roots]
        depth = 0
        while level:
            await for_each(self._within_bounds(level, depth), self._read, self._reader.concurrency)
            level = [
                self._meet(edge.key, edge.relation)
                for node in level
                for edge in node.edges
                if isinstance(edge, Edge) and edge.key not in self.nodes
            ]
            depth += 1

    def in_link_order(self, roots: Iterable[str]) -> Iterator[tuple[Node, str | None] | Problem]:
        """The documents depth first, in the order of the links, each once and with the key of the document that led
        to it, and between them the problems with links."""
        told: set[str] = set()
        for root in roots:
            if root in told:
                continue
            told.add(root)
            yield self.nodes[root], None
            above = {root}
            stack = [(root, iter(self.nodes[root].edges))]
            while stack:
                key, edges = stack[-1]
                edge = next(edges, None)
                if edge is None:
                    above.discard(key)
                    stack.pop()
                elif isinstance(edge, Problem):
                    yield edge
                elif edge.key in above:
                    yield Problem(Code.LINK_CYCLE, edge.href, f"It stands in {key} and leads to {edge.key}.")
                elif edge.key not in told:
                    told.add(edge.key)
                    node = self.nodes[edge.key]
                    yield node, key
                    if node.edges:
                        above.add(edge.key)
                        stack.append((edge.key, iter(node.edges)))

    def led_to_by_none(self, candidates: Iterable[str]) -> list[str]:
        """Those of the candidates that no other one leads to; of a ring of them, the first."""
        roots: dict[str, None] = {}
        visited: set[str] = set()
        for candidate in candidates:
            if candidate in visited:
                continue
            roots[candidate] = None
            visited.add(candidate)
            stack = [candidate]
            while stack:
                for edge in self.nodes[stack.pop()].edges:
                    if isinstance(edge, Problem):
                        continue
                    if edge.key != candidate:
                        # An earlier root that this one leads to; it cannot lead back, or this one were visited by now.
                        roots.pop(edge.key, None)
                    if edge.key not in visited:
                        visited.add(edge.key)
                        stack.append(edge.key)
        return list(roots)

    def exceeded(self, root: str) -> list[Problem]:
        """One problem for each bound of the whole job that kept documents from being read."""
        limits, problems = self._settings, []
        if self._too_many.count:
            detail = f"At most {limits.max_items} documents of a job are read; {self._too_many.count} were left out."
            problems.append(Problem(Code.TOO_MANY_ITEMS, root, detail))
        if self._too_large.count:
            detail = (
                f"With it the job's documents would have more than {limits.max_job_bytes} bytes in all;"
                f" {self._too_large.count} were left out."
            )
            problems.append(Problem(Code.TOO_LARGE, self._too_large.first, detail))
        if self._too_long.count:
            detail = f"Reading stopped after {limits.max_job_seconds:g} s; {self._too_long.count} were left out."
            problems.append(Problem(Code.TOO_MANY_ITEMS, root, detail))
        return problems

    def _meet(self, key: str, relation: Relation) -> Node:
        node = self.nodes[key] = Node(key, relation)
        return node

    def _within_bounds(self, level: Iterable[Node], depth: int) -> list[Node]:
        """The documents of a level that may be read, their obstacles set on the others."""
        limits, allowed = self._settings, []
        for node in level:
            info = self._files.get(node.key)
            if info is None:
                node.obstacle = Problem(Code.LINK_MISSING, node.key)
            elif depth + (node.relation == "child") > limits.max_depth:
                detail = f"At most {limits.max_depth} levels of catalogs may lie above an item."
                node.obstacle = Problem(Code.TOO_DEEP, node.key, detail)
            elif info.size > limits.max_document_bytes:
                node.obstacle = _too_large(node.key, info.size, limits)
            elif self._documents >= limits.max_items:
                self._too_many.add(node.key)
            elif self._too_large.count or self._bytes + info.size > limits.max_job_bytes:
                self._too_large.add(node.key)
            else:
                self._documents += 1
                self._bytes += info.size
                allowed.append(node)
        return allowed

    async def _read(self, node: Node) -> None:
        if self._seconds > self._settings.max_job_seconds:
            self._too_long.add(node.key)
            return
        try:
            fetched = await self._get(node.key)
        except ObjectMissing:
            node.obstacle = Problem(Code.LINK_MISSING, node.key)
            return
        except ObjectTooLarge as error:
            node.obstacle = _too_large(node.key, error.size, self._settings)
            return
        except ObjectUnreadable as error:
            code = Code.ITEM_UNREADABLE if node.relation == "item" else Code.CATALOG_UNREADABLE
            node.obstacle = Problem(code, node.key, str(error))
            return
        node.pin = pin(fetched)
        started = self._clock()
        node.document = self._understand(fetched, node.relation, node.pin)
        self._seconds += self._clock() - started
        if node.document.links:
            node.edges = self._edges(node.document.links)

    async def _get(self, key: str) -> Fetched:
        async with self._reader.slots:
            started = self._clock()
            try:
                return await self._reader.store.get(self._bucket, key, self._settings.max_document_bytes)
            finally:
                self._seconds += (self._clock() - started) / self._reader.concurrency

    def _edges(self, links: Iterable[Target | Problem]) -> list[Edge | Problem]:
        """The links with the keys that they mean, each key once."""
        edges: list[Edge | Problem] = []
        keys: set[str] = set()
        for link in links:
            if isinstance(link, Problem):
                edges.append(link)
                continue
            key = next((one for one in link.keys if one in self._files), link.keys[0])
            if key not in keys:
                keys.add(key)
                edges.append(Edge(key, link.relation, link.href))
        room = _LINKS_PER_DOCUMENT * self._settings.max_items - self._links
        for edge in edges[room:]:
            self._too_many.add(edge.key if isinstance(edge, Edge) else edge.object)
        self._links += len(edges[:room])
        return edges[:room]


def pin(fetched: Fetched) -> Pin:
    """Which bytes these are."""
    info = fetched.info
    digest = hashlib.sha256(fetched.data).hexdigest()
    return Pin(info.key, info.etag, info.version_id, digest, len(fetched.data))


async def for_each(things: Collection[T], do: Callable[[T], Awaitable[None]], concurrency: int) -> None:
    """Does something with each, with at most `concurrency` of them under way; the first error ends the others.

    Raises:
        Exception: whatever `do` raised first.
    """
    if min(len(things), concurrency) <= 1:
        # Most jobs have one catalog and one item; a task for each would cost more than they do.
        for thing in things:
            await do(thing)
        return
    waiting = iter(things)

    async def work() -> None:
        for thing in waiting:
            await do(thing)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(things))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__


def _too_large(key: str, size: int, limits: Settings) -> Problem:
    detail = f"It has {size} bytes; at most {limits.max_document_bytes} are read."
    return Problem(Code.TOO_LARGE, key, detail)
