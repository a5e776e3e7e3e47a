"""`maap-stac up`: starts the local stack and, in the foreground, watches it until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from maap_stac_orchestration.cli.errors import Told

if TYPE_CHECKING:
    from maap_stac_orchestration.stack.home import Home
    from maap_stac_orchestration.stack.lifecycle import Stack

_WATCH_SECONDS = 5.0


@click.command(
    epilog="Example: maap-stac up --detach && maap-stac demo",
    short_help="Start the local stack.",
)
@click.option("--detach", is_flag=True, help="Return once everything is well, and leave it running.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where it keeps everything.  [default: MAAP_STAC_HOME, else ./.maap-stac]",
)
@click.option(
    "--port-base",
    type=int,
    help="The first of ten ports on 127.0.0.1.  [default: those of the last start, else 8600 or the next free ones]",
)
@click.option("--demo", is_flag=True, help="Submit the demo's jobs once everything is well, see `maap-stac demo`.")
def command(detach: bool, home: Path | None, port_base: int | None, demo: bool) -> int:
    """Starts the local stack: database, object store with its queue, Dagster, STAC API, tiler, STAC Browser.

    Parts that the environment points at already are used, not started: a database when PGHOST is set, an object store
    and queue when AWS_ENDPOINT_URL, MAAP_STAC_BUCKETS or MAAP_STAC_QUEUE_URL is, a tiler when MAAP_STAC_TILER_URL is.
    A stack that is up already is fine. What runs where is written to stack.json in the home folder. Data stay there
    from one start to the next.
    """
    from maap_stac_orchestration.stack.errors import StackError
    from maap_stac_orchestration.stack.home import Home
    from maap_stac_orchestration.stack.lifecycle import up
    from maap_stac_orchestration.stack.postgres import PostgresError

    place = Home.at(home)
    try:
        with _signals_do(_interrupt):
            started = up(place, port_base=port_base, tell=_tell)
            if not started.changed:
                _tell("everything was up already")
            click.echo(_summary(started.stack))
            code = _demo(place) if demo else 0
            if detach:
                return code
            if demo:
                click.echo(_summary(started.stack))
            click.echo("Ctrl-C stops it.")
            _watch(started.stack)
            return 0
    except KeyboardInterrupt:
        if detach:
            raise click.Abort from None
        _stop(place)
        return 0
    except (StackError, PostgresError) as error:
        raise Told(str(error)) from error


def _demo(home: Home) -> int:
    """Runs `maap-stac demo` as a command of its own, which takes its environment from the home."""
    import subprocess
    import sys

    program = Path(sys.executable).with_name("maap-stac")
    return subprocess.run([program, "demo", "--home", home.folder], check=False).returncode  # noqa: S603  # ourselves


def _tell(step: str) -> None:
    click.echo(f"· {step}", err=True)


def _stop(home: Home) -> None:
    from maap_stac_orchestration.stack.lifecycle import down

    # A second Ctrl-C, or one that a terminal and a parent process both pass on, would leave half of the stack running.
    with _signals_do(lambda number, frame: _tell("stopping already, it takes a few seconds")):
        down(home, tell=_tell)
    _tell("stopped")


def _summary(stack: Stack) -> str:
    plan = stack.plan
    rows = [
        ("Status", f"{plan.url('api')}/status"),
        ("Dagster UI", plan.url("dagster")),
        ("STAC API", plan.url("api")),
        ("STAC Browser", plan.client["MAAP_STAC_BROWSER_URL"]),
        ("Tiles", plan.client["MAAP_STAC_TILER_URL"]),
        ("S3, SQS, SNS", f"{plan.s3_endpoint or 'AWS'}  (bucket {plan.bucket})"),
        ("Database", stack.parts[0].url or ""),
        ("Logs", str(stack.home.logs)),
    ]
    remarks = [remark for remark in (part.remark() for part in stack.parts) if remark]
    return "\n".join([*(f"  {name:<14}{value}" for name, value in rows), *(f"  {remark}" for remark in remarks)])


def _watch(stack: Stack) -> None:
    """Says when a part falls ill and when it is well again, until a signal comes or `maap-stac down` was called."""
    ill: set[str] = set()
    while True:
        time.sleep(_WATCH_SECONDS)
        if not stack.supervisor.answers():
            _tell("the stack was stopped from elsewhere")
            return
        for health in stack.health():
            if health.healthy and health.name in ill:
                ill.discard(health.name)
                _tell(f"{health.title} is well again")
            elif not health.healthy and health.name not in ill:
                ill.add(health.name)
                _tell(f"{health.title} is not well: {health.message}")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _signals_do(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handles every polite signal alike, also where the command was started with SIGINT ignored (`&` in a script)."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler_before in zip(numbers, former, strict=True):
            signal.signal(number, handler_before)
