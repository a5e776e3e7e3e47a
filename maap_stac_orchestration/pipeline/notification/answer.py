"""What a try to tell somebody came to, and when the next one is due. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: Waits after the first try, the second and so on; the last one for all that follow.
BACKOFF = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=8),
    timedelta(hours=24),
)
#: However long a receiver asks to be left alone.
LONGEST_WAIT = timedelta(hours=24)
#: A wait is up to so much of itself longer, so that what failed together does not come again together.
JITTER = 0.25


@dataclass(frozen=True, slots=True)
class Answer:
    """What a try came to."""

    #: Whether it was taken.
    delivered: bool
    #: A status, or why there was none, in words.
    text: str
    #: Whether the receiver said that it is gone for good.
    gone: bool = False
    #: How long the receiver asks to be left alone.
    retry_after: timedelta | None = None
    #: The beginning of what a receiver wrote, for whoever tries an endpoint by hand.
    excerpt: str = ""


def wait_after(attempt: int, random: float, retry_after: timedelta | None = None) -> timedelta:
    """How long to wait after a try that failed.

    Args:
        attempt: 1 after the first try.
        random: a number from 0 to 1, for the jitter.
        retry_after: how long the receiver asked to be left alone at least.
    """
    wait = BACKOFF[min(attempt, len(BACKOFF)) - 1] * (1 + JITTER * random)
    return max(wait, min(retry_after or timedelta(0), LONGEST_WAIT))


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """What a Retry-After header says: seconds or a date (RFC 9110, section 10.2.3); None where it says neither."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        # Ten digits are three centuries, and a number that does not overflow.
        return timedelta(seconds=int(text[:10])) if len(text) <= 10 else LONGEST_WAIT
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    return max(until - now, timedelta(0))
