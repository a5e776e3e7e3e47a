"""Telling people and programs that jobs ended: the outbox is emptied, and what is due is sent.

Here belongs when something is sent and what becomes of each try. Not here: what is sent, and how each kind of endpoint
is reached (`notification`), and the outbox itself (`ledger.deliveries`).

Ingestion only leaves a row for each end; everything here happens after it, at least once, and may be broken off at any
moment: a delivery is claimed and committed before it is sent, and due again if no answer is noted. Several processes
may do it at once. Each endpoint is served by itself and left alone after a try that failed, so that one that is dead
or slow costs the others nothing but one of the slots in which endpoints are served.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from maap_stac_orchestration import log_events
from maap_stac_orchestration.ledger import deliveries, endpoints
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.deliveries import Claimed, JobEnd, NewDelivery
from maap_stac_orchestration.ledger.endpoints import Endpoint, Kind
from maap_stac_orchestration.ledger.records import TERMINAL
from maap_stac_orchestration.settings import Settings

if TYPE_CHECKING:
    import ssl

    from maap_stac_orchestration.pipeline.notification.answer import Answer
    from maap_stac_orchestration.pipeline.notification.report import Reports
    from maap_stac_orchestration.pipeline.notification.sns import Topics
    from maap_stac_orchestration.pipeline.notification.webhook import Webhooks

#: Ends that become deliveries in one transaction.
_ENDS_AT_ONCE = 200
#: Ends that are forgotten in one transaction where nobody is to be told.
_DROPPED_AT_ONCE = 10_000
#: Deliveries that are sent to one endpoint at the same time.
_AT_ONCE = 4
#: Endpoints that are served at the same time. A dead one keeps its slot for the seconds of a try.
_SLOTS = 32
#: For how long nobody else sends a claimed delivery: much longer than a try can take.
_LEASE = timedelta(minutes=2)
#: Deliveries of long ago that one call forgets.
_PRUNED = 1_000
#: Up to which number what is left is counted.
_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Notified:
    """What a call came to, in deliveries."""

    #: Taken by their endpoints.
    told: int = 0
    #: Tried in vain; they are tried again.
    failed: int = 0
    #: Given up.
    dead: int = 0
    #: Still due, with the ends of which deliveries are still to be made; counted up to 20,000.
    left: int = 0

    def __str__(self) -> str:
        """In a sentence."""
        if not (self.told or self.failed or self.dead or self.left):
            return "Nobody is to be told anything."
        return f"{self.told} told, {self.failed} to be tried again, {self.dead} given up, {self.left} still due."


def notify(conn: Connection, settings: Settings, *, deadline: float) -> Notified:
    """Makes deliveries of ends of jobs and sends what is due, until nothing is or the deadline has passed.

    Commits by itself, again and again. Costs one question to the database when there is nothing to do.

    Args:
        conn: an open connection that nobody else uses meanwhile, without an open transaction.
        settings: what is set.
        deadline: of `time.monotonic`; a try that began before may take ten seconds longer.

    Raises:
        psycopg.Error: the database does not answer. What was sent and not noted is sent again.
    """
    ends, due = deliveries.waiting(conn)
    conn.commit()
    if ends:
        # Half of the time, so that what is due is sent while a backfill ends jobs faster than deliveries are made.
        began = time.monotonic()
        due = _make_deliveries(conn, settings, began + (deadline - began) / 2) > 0 or due
    if not ends and not due:
        return Notified()
    round_ = _Round(conn, settings, deadline)
    if due:
        asyncio.run(round_.send())
    deliveries.prune(conn, _PRUNED)
    left = deliveries.left(conn, _COUNTED)
    conn.commit()
    return Notified(round_.told, round_.failed, round_.dead, left)


def _make_deliveries(conn: Connection, settings: Settings, deadline: float) -> int:
    """Empties the outbox into deliveries; gives how many were made."""
    made = 0
    while time.monotonic() < deadline:
        with conn.transaction():
            told = endpoints.in_force(conn, keep=True)
            if not told and not settings.reports:
                if deliveries.drop_ends(conn, _DROPPED_AT_ONCE) == 0:
                    break
                continue
            ends = deliveries.take_ends(conn, _ENDS_AT_ONCE)
            made += deliveries.make(conn, _deliveries_of(conn, settings, ends, told))
        if not ends:
            break
    conn.commit()
    return made


def _deliveries_of(conn: Connection, settings: Settings, ends: list[JobEnd], told: list[Endpoint]) -> list[NewDelivery]:
    from maap_stac_orchestration.pipeline.notification.messages import MOST_PROBLEMS, job_message
    from maap_stac_orchestration.pipeline.notification.subscriptions import public_addresses

    matching = [(end, endpoint) for end in ends for endpoint in told if is_told(endpoint, end)]
    problems = deliveries.problems_of(conn, {end.job.job_id for end, _ in matching}, MOST_PROBLEMS)
    addresses = public_addresses(settings)
    new = []
    for end, endpoint in matching:
        shown, count = problems.get(end.job.job_id, ((), 0))
        message_id = uuid4()
        body = job_message(end, shown, count, message_id=message_id, addresses=addresses)
        new.append(NewDelivery(message_id, endpoint.id, end.job.job_id, end.transition_id, body))
    if settings.reports:
        new += [NewDelivery(uuid4(), None, end.job.job_id, end.transition_id, "") for end in ends]
    return new


def is_told(endpoint: Endpoint, end: JobEnd) -> bool:
    """Whether an endpoint is told of an end: everything that it names must hold. Pure."""
    return (
        endpoint.username in (None, end.job.username)
        and endpoint.algorithm in (None, end.job.algorithm)
        and (not endpoint.states or end.state in endpoint.states)
    )


class _Round:
    """One call's sending. The connection is used by the event loop's thread alone, and never across an `await`."""

    def __init__(self, conn: Connection, settings: Settings, deadline: float) -> None:
        self.told = self.failed = self.dead = 0
        self._conn, self._settings, self._deadline = conn, settings, deadline
        self._tls: ssl.SSLContext | None = None
        self._topics: Topics | None = None
        self._reports: Reports | None = None

    async def send(self) -> None:
        """Serves every endpoint at which something is due."""
        targets = deliveries.due_targets(self._conn)
        in_force = {endpoint.id: endpoint for endpoint in endpoints.in_force(self._conn)}
        self._conn.commit()
        slots = asyncio.Semaphore(_SLOTS)
        await asyncio.gather(
            *(
                self._serve(None if target is None else in_force[target], slots)
                for target in targets
                if target is None or target in in_force
            )
        )

    async def _serve(self, endpoint: Endpoint | None, slots: asyncio.Semaphore) -> None:
        """Sends what is due at an endpoint (None: reports) until nothing is, a try fails, or the time is over."""
        async with slots:
            webhooks = None
            if endpoint is not None and endpoint.kind is Kind.WEBHOOK:
                webhooks = self._webhooks(endpoint)
            try:
                while time.monotonic() < self._deadline:
                    claimed = deliveries.claim(
                        self._conn, None if endpoint is None else endpoint.id, limit=_AT_ONCE, lease=_LEASE
                    )
                    secrets = endpoints.secrets_of(self._conn, endpoint.id) if webhooks and endpoint else ()
                    self._conn.commit()
                    if not claimed:
                        break
                    taken = await asyncio.gather(*(self._try(one, endpoint, webhooks, secrets) for one in claimed))
                    if not all(taken):
                        break
            finally:
                if webhooks is not None:
                    await webhooks.close()

    async def _try(
        self, claimed: Claimed, endpoint: Endpoint | None, webhooks: Webhooks | None, secrets: tuple[str, ...]
    ) -> bool:
        """Sends one delivery and notes what came of it; gives whether it was taken."""
        if endpoint is None:
            answer = await self._write_report(claimed)
        elif webhooks is not None:
            answer = await webhooks.send(claimed.message_id, claimed.body, secrets)
        else:
            answer = await self._publish(claimed, endpoint)
        self._note(claimed, endpoint, answer)
        return answer.delivered

    def _note(self, claimed: Claimed, endpoint: Endpoint | None, answer: Answer) -> None:
        from maap_stac_orchestration.pipeline.notification.answer import wait_after

        if answer.delivered:
            deliveries.note_delivered(self._conn, claimed, answer.text)
            self._conn.commit()
            self.told += 1
            return
        give_up = answer.gone or claimed.attempt >= self._settings.webhook_attempts
        # Only for spreading tries over time.
        wait = None if give_up else wait_after(claimed.attempt, random.random(), answer.retry_after)  # noqa: S311
        noted = deliveries.note_failed(self._conn, claimed, answer.text, again_in=wait)
        self._conn.commit()
        if not give_up:
            self.failed += 1
            return
        self.dead += 1
        if noted:
            _tell_dead(claimed, endpoint, answer)
        if answer.gone and endpoint is not None:
            self._take_out(endpoint)

    def _take_out(self, endpoint: Endpoint) -> None:
        from maap_stac_orchestration.pipeline.notification.subscriptions import remove

        author = Author("the receiver", Via.NOTIFICATION, "It answered 410 Gone.")
        try:
            remove(self._conn, endpoint.id, author)
        except endpoints.NoSuchEndpoint:  # several deliveries learned it at the same time
            self._conn.rollback()

    def _webhooks(self, endpoint: Endpoint) -> Webhooks:
        import httpx

        from maap_stac_orchestration.pipeline.notification.webhook import Webhooks

        # Reading the certificates of authorities takes longer than a request does.
        self._tls = self._tls or httpx.create_ssl_context()
        return Webhooks(endpoint.address, private=self._settings.webhook_private, tls=self._tls)

    async def _publish(self, claimed: Claimed, endpoint: Endpoint) -> Answer:
        from maap_stac_orchestration.pipeline.notification.sns import Topics

        self._topics = self._topics or Topics()
        attributes = {"username": claimed.username, "algorithm": claimed.algorithm, "state": str(claimed.state)}
        return await asyncio.to_thread(self._topics.publish, endpoint.address, claimed.body, attributes)

    async def _write_report(self, claimed: Claimed) -> Answer:
        """The report says what the ledger says when it is written, so that a late one never takes the place of a newer.

        The place is looked at before the ledger is read, and written only if it is as it was: a newer report that comes
        in between is then seen.
        """
        from maap_stac_orchestration.ledger.jobs import get_job
        from maap_stac_orchestration.pipeline.notification.answer import Answer
        from maap_stac_orchestration.pipeline.notification.messages import report
        from maap_stac_orchestration.pipeline.notification.report import Reports
        from maap_stac_orchestration.pipeline.notification.subscriptions import public_addresses

        self._reports = self._reports or Reports()
        place = await asyncio.to_thread(self._reports.look, claimed.bucket, claimed.prefix)
        if isinstance(place, Answer):
            return place
        latest = deliveries.is_latest_report(self._conn, claimed)
        detail = get_job(self._conn, claimed.prefix, bucket=claimed.bucket) if latest else None
        self._conn.commit()
        if detail is None or detail.summary.state not in TERMINAL:
            return Answer(True, "Not written: the job was tried again, and has or will have a newer report.")
        body = report(detail, addresses=public_addresses(self._settings), written=datetime.now(UTC))
        return await asyncio.to_thread(self._reports.write, place, body)


def _tell_dead(claimed: Claimed, endpoint: Endpoint | None, answer: Answer) -> None:
    log_events.emit(
        log_events.Event.NOTIFICATION_DEAD,
        delivery=claimed.id,
        job=claimed.prefix,
        endpoint=claimed.endpoint_id,
        kind="report" if endpoint is None else str(endpoint.kind),
        host=claimed.bucket if endpoint is None else endpoint.host,
        attempts=claimed.attempt,
        answer=answer.text,
    )
