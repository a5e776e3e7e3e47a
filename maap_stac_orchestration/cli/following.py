"""Following jobs until all of them have ended: a live view with a bar by state, or a line whenever something changed.

Here belongs how jobs are watched from the command line and how that looks. Not here: which jobs (`jobs`) and the
questions to the ledger (`ledger.jobs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from maap_stac_orchestration.ledger.records import TERMINAL, State

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

#: How a state is shown: what went well, what needs a look, what is under way.
STYLES = {
    State.LOADED: "green",
    State.PARTIAL: "yellow",
    State.REJECTED: "red",
    State.FAILED: "red",
    State.WAITING: "yellow",
    State.INGESTING: "cyan",
    State.DISCOVERED: "cyan",
}

#: What a state fills its part of the bar with, so that it can be told apart without colours.
_FILLINGS = {
    State.LOADED: "█",
    State.PARTIAL: "▓",
    State.REJECTED: "▒",
    State.FAILED: "▒",
    State.WAITING: "░",
    State.INGESTING: "━",
    State.DISCOVERED: "─",
}

#: The order of the states in a bar and in words: what has ended first.
_ORDER = tuple(_FILLINGS)

#: Ends that somebody has to look at.
TROUBLED = (State.PARTIAL, State.REJECTED, State.FAILED)

#: Seconds between two looks.
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """How some jobs are doing."""

    #: State -> number of jobs; states that no job is in may be left out.
    states: Mapping[State, int]
    #: Counts of items, as in `JobSummary`.
    loaded: int = 0
    unchanged: int = 0
    fallback: int = 0
    refused: int = 0

    @property
    def jobs(self) -> int:
        """All of them."""
        return sum(self.states.values())

    @property
    def ended(self) -> int:
        """Those with which nothing more happens by itself."""
        return sum(number for state, number in self.states.items() if state in TERMINAL)

    @property
    def troubled(self) -> int:
        """Those of them that somebody has to look at."""
        return sum(self.states.get(state, 0) for state in TROUBLED)

    def words(self) -> str:
        """`38 loaded, 2 partial, 1 waiting`, those that have ended first."""
        return ", ".join(f"{self.states[state]} {state}" for state in _ORDER if self.states.get(state))


class View(Protocol):
    """What shows how jobs are doing, from entering it until leaving it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, standing: Standing, seconds: float) -> None:
        """Shows this; `seconds` is for how long it is followed by now."""


def follow(
    look: Callable[[], Standing], view: View, *, expect: int = 1, timeout: float | None = None
) -> tuple[Standing, float, bool]:
    """Looks again and again until the jobs have ended.

    Args:
        look: tells how they are doing.
        view: shows it.
        expect: how many jobs there must be.
        timeout: seconds after which it is given up; None for never.

    Returns:
        How they were doing last, after how many seconds, and whether as many as expected are there and have ended.
    """
    started = before = time.monotonic()
    standing = look()
    with view:
        while True:
            now = time.monotonic()
            view.update(standing, now - started)
            done = standing.jobs >= expect and standing.ended == standing.jobs
            if done or (timeout is not None and now - started >= timeout):
                return standing, now - started, done
            # A look over very many jobs takes its time; the database has others to serve.
            pause = max(_PAUSE, 2 * (now - before))
            time.sleep(pause if timeout is None else min(pause, max(0.0, started + timeout - now)))
            before = time.monotonic()
            standing = look()


class Lines:
    """A line whenever something changed, for files and pipes."""

    def __init__(self, write: Callable[[str], None], expect: int) -> None:
        self._write = write
        self._expect = expect
        self._last: Standing | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to leave behind."""

    def update(self, standing: Standing, seconds: float) -> None:
        """See `View.update`."""
        if standing == self._last:
            return
        self._last = standing
        total = max(standing.jobs, self._expect)
        words = standing.words() or "none has come to notice yet"
        self._write(f"{clock(seconds)}  {standing.ended} of {total} {'job' if total == 1 else 'jobs'} ended: {words}")


class Live:
    """A bar by state that moves, for terminals."""

    def __init__(self, console: Console, expect: int) -> None:
        from rich.live import Live as RichLive

        self._expect = expect
        self._standing: Standing | None = None
        self._started = time.monotonic()
        self._live = RichLive(self, console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        try:
            self._live.__enter__()
        except BaseException:
            # A Ctrl-C that comes while it begins; the cursor would stay hidden.
            self._live.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self, standing: Standing, seconds: float) -> None:
        """See `View.update`."""
        self._standing = standing
        self._started = time.monotonic() - seconds
        self._live.refresh()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        standing = self._standing
        if standing is None:
            return
        total = max(standing.jobs, self._expect)
        parts = [(state, standing.states[state]) for state in _ORDER if standing.states.get(state)]
        bar = Text(no_wrap=True)
        ended = f"  {standing.ended}/{total} ended  {clock(time.monotonic() - self._started)}"
        room = max(10, options.max_width - len(ended))
        widths = shares([number for _, number in parts] + [total - standing.jobs], room)
        for (state, _), width in zip(parts, widths, strict=False):
            bar.append(_FILLINGS[state] * width, STYLES[state])
        bar.append(" " * widths[-1])
        yield bar.append(ended)
        if not parts:
            yield Text("no such job has come to notice yet", "dim")
            return
        legend = Text()
        # Lines break between the states, never inside of one.
        for state, jobs in parts:
            legend.append(_FILLINGS[state], STYLES[state]).append(
                f"\N{NO-BREAK SPACE}{jobs}\N{NO-BREAK SPACE}{state}  "
            )
        items = standing.loaded + standing.unchanged
        yield legend.append(
            f"{items} {'item' if items == 1 else 'items'} in place".replace(" ", "\N{NO-BREAK SPACE}"), "dim"
        )


def shares(numbers: list[int], room: int) -> list[int]:
    """Widths in proportion to the numbers that fill the room; none that is not 0 vanishes while there is room."""
    total = sum(numbers)
    if total == 0:
        return [0] * (len(numbers) - 1) + [room] if numbers else []
    widths = [max(1, number * room // total) if number else 0 for number in numbers]
    while (left := room - sum(widths)) != 0:
        # Whoever is furthest from its share gives or takes.
        off = [number * room / total - width for number, width in zip(numbers, widths, strict=True)]
        if left > 0:
            widths[off.index(max(off))] += 1
        else:
            wide = [one if width > 1 else float("inf") for one, width in zip(off, widths, strict=True)]
            if min(wide) == float("inf"):
                break
            widths[wide.index(min(wide))] -= 1
    return widths


def clock(seconds: float) -> str:
    """`0:01:05`."""
    return str(timedelta(seconds=int(seconds)))
