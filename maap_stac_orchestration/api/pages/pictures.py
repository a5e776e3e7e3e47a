"""Pictures that pages draw themselves, as numbers for SVG: progress bars, footprints.

Here belongs where a line begins and ends. Not here: colours and sizes (`static/status.css`). A Content-Security-Policy
without inline styles forbids bars as boxes with a width; attributes of SVG are no styles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maap_stac_orchestration.api.pages.words import ORDER, STATES
from maap_stac_orchestration.ledger.records import State

#: Hundredths of the bar that even a single job among thousands gets, so that a failure is seen.
_LEAST = 1.5


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a progress bar, in hundredths of its length."""

    state: State
    label: str
    jobs: int
    x: float
    width: float


def bar(states: Mapping[State, int]) -> tuple[Segment, ...]:
    """The segments of a progress bar that is 100 long; none where there are no jobs."""
    present = [(state, states[state]) for state in ORDER if states.get(state, 0) > 0]
    total = sum(jobs for _, jobs in present)
    # Each gets the least, and the rest goes by number: small parts stay visible, and the order of sizes stays true.
    shared = 100 - _LEAST * len(present)
    segments, x = [], 0.0
    for state, jobs in present:
        width = _LEAST + shared * jobs / total
        segments.append(Segment(state, STATES[state].label, jobs, round(x, 3), round(width, 3)))
        x += width
    return tuple(segments)
