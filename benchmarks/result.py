"""What a benchmark gives, and the JSON line that it prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One measured number beside what it must be."""

    benchmark: str
    value: float
    unit: str
    #: What it must reach, and what is aimed for; whether more or less is better lies in the unit and the baseline.
    must: float
    aim: float
    #: What it is compared with, a phrase.
    baseline: str
    #: The single measurements, in the order they were taken, in the same unit.
    rounds: Sequence[float]

    def to_line(self) -> str:
        """One line of JSON, numbers to four significant digits."""
        return json.dumps(
            {
                "benchmark": self.benchmark,
                "value": _short(self.value),
                "unit": self.unit,
                "must": self.must,
                "aim": self.aim,
                "baseline": self.baseline,
                "rounds": [_short(one) for one in self.rounds],
            }
        )


class CannotMeasure(Exception):
    """A benchmark could not be taken; the message says why, in a sentence."""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them (0 to 1) does not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is no percentile of nothing")
    ordered = sorted(values)
    # Rounded first, since 0.95 * 20 is a little more than 19 in floating point.
    rank = round(share * len(ordered), 9)
    return ordered[max(0, -int(-rank // 1) - 1)]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
