"""`maap-stac dead-letters`: messages of the bucket's events that nobody could do anything with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maap_stac_orchestration.cli.environment import home_option, use_stack
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.terminal import printable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from maap_stac_orchestration.discovery.dead_letters import DeadLetter


@dataclass(frozen=True, slots=True)
class _Queues:
    """The queue, the one behind it, and how both are reached."""

    sqs: SQSClient
    #: Where the bucket's events come.
    url: str
    #: Where those end that nobody could do anything with.
    dead: str
    buckets: tuple[str, ...]


@contextmanager
def _queues(home: Path | None) -> Iterator[_Queues]:
    use_stack(home, ("MAAP_STAC_QUEUE_URL",))
    from botocore.exceptions import BotoCoreError

    from maap_stac_orchestration.discovery.dead_letters import NoDeadLetters, find_dead_letter_queue
    from maap_stac_orchestration.discovery.found import SourceUnavailable
    from maap_stac_orchestration.settings import settings
    from maap_stac_orchestration.store.aws import client

    current = settings()
    url = current.queue_url
    if not url:
        raise Told("MAAP_STAC_QUEUE_URL names no queue: the buckets are listed, and there are no messages.")
    try:
        sqs = client("sqs")
        yield _Queues(sqs, url, find_dead_letter_queue(sqs, url), current.buckets)
    except (NoDeadLetters, SourceUnavailable) as error:
        raise Told(str(error)) from error
    except BotoCoreError as error:
        raise Told(f"The queue {url} cannot be reached: {error}. Set AWS_REGION and credentials.") from error


@click.group(short_help="Look at messages that were given up, and move them back.")
def command() -> None:
    """Messages of the buckets' events that were received several times and never done with.

    The queue's redrive policy puts them aside. Either they are no events of S3, or the database or the bucket was away
    each time; then move them back. No job is lost by them for long: each night the last days are listed.
    """


@command.command(
    "list",
    epilog="Example: maap-stac dead-letters list --limit 20",
    short_help="Show what lies in the dead-letter queue.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_command(limit: int, home: Path | None, as_json: bool) -> None:
    """Shows the messages with the catalogs that they tell of, or why they are not understood; all stay where they
    are."""
    from maap_stac_orchestration.discovery.dead_letters import count, look

    with _queues(home) as queues:
        found = look(queues.sqs, queues.dead, buckets=queues.buckets, limit=limit)
        there = max(count(queues.sqs, queues.dead), len(found))
    if as_json:
        document = {"queue": queues.dead, "messages": [_document(one) for one in found], "about": there}
        click.echo(json.dumps(document, indent=2))
        return
    if not found:
        click.echo("The dead-letter queue is empty.")
        return
    for one in found:
        sent = "at an unknown time" if one.sent is None else f"{one.sent:%Y-%m-%d %H:%M:%S}"
        click.echo(f"{sent}  received {one.receives} times  {printable(one.message_id)}")
        for catalog in one.catalogs:
            click.echo(printable(f"    s3://{catalog.bucket}/{catalog.key}"))
        if one.why is not None:
            click.echo(printable(f"    {one.why}"))
        elif not one.catalogs:
            click.echo("    It tells of no catalog of the buckets, so nothing is lost by it.")
    if there > len(found):
        click.echo(f"These are {len(found)} of about {there}; --limit shows more.")
    if any(one.why is None for one in found):
        click.echo("`maap-stac dead-letters redrive` moves those that are understood back to the queue.")


@command.command(
    "redrive",
    epilog="Example: maap-stac dead-letters redrive --dry-run",
    short_help="Move messages back to the queue.",
)
@click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True, help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="Also those that are not understood.")
@click.option("--dry-run", is_flag=True, help="Tell how many would be moved, and move none.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def redrive_command(limit: int, everything: bool, dry_run: bool, home: Path | None, as_json: bool) -> int:
    """Moves the messages that are understood back to the queue, from which they are read within seconds.

    None is lost when it is stopped on the way; one may then be in both queues, which does no harm. Exit code: 0 when
    all were moved, 1 when some stay.
    """
    from maap_stac_orchestration.discovery.dead_letters import redrive

    with _queues(home) as queues:
        done = redrive(
            queues.sqs,
            queues.dead,
            queues.url,
            buckets=queues.buckets,
            limit=limit,
            everything=everything,
            dry_run=dry_run,
        )
    if as_json:
        document: dict[str, Any] = {
            "dry_run": dry_run,
            "moved": done.moved,
            "twice": done.twice,
            "left": done.left,
            "refused": done.refused,
            "more": done.more,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(f"{_messages(done.moved)} {'would be moved' if dry_run else 'moved'} back to the queue.")
        if done.left:
            click.echo(
                f"{_messages(done.left)} left: not understood, and would not be the next time; `maap-stac dead-letters "
                "list` says why, --all moves them too."
            )
        if done.refused:
            click.echo(f"{_messages(done.refused)} left: the queue did not take them. Try again.")
        if done.twice:
            click.echo(f"{_messages(done.twice)} could not be deleted and will be seen twice, which does no harm.")
        if done.more:
            click.echo(f"There may be more than --limit {limit}; call it again.")
    return 1 if done.left or done.refused else 0


def _document(one: DeadLetter) -> dict[str, Any]:
    from maap_stac_orchestration.ledger.records import timestamp

    return {
        "message_id": one.message_id,
        "sent": None if one.sent is None else timestamp(one.sent),
        "receives": one.receives,
        "understood": one.why is None,
        "why": one.why,
        "catalogs": [f"s3://{catalog.bucket}/{catalog.key}" for catalog in one.catalogs],
        "begins": one.begins,
    }


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"
