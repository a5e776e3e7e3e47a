"""Reading a job's identity out of an object key.

Here belongs how the DPS lays out its outputs. Not here: what the sidecar file says (`metadata`) and what a STAC
document at a key means (`catalog`).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from maap_stac_orchestration.dps.job import OutputPrefix

#: The folder below each user's own that holds the outputs of jobs.
OUTPUT_FOLDER = "dps_output"
#: The folder whose folders belong to one user each, as those at the root of a bucket do, and are open to all to read.
SHARED_FOLDER = "shared"

# A lookahead, so that timestamps may begin at every slash: `2025/2025/08/…` holds one from the second segment on.
_TIMESTAMP = re.compile(r"/(?=([0-9]{4})/([0-9]{2})/([0-9]{2})/([0-9]{2})/([0-9]{2})/([0-9]{2})/([0-9]{6})/)")
_TIMESTAMP_LENGTH = len("YYYY/MM/DD/HH/mm/ss/ffffff/")
# A user who is called shared keeps shared/dps_output/…, whatever follows.
_HEAD = re.compile(rf"(?:{SHARED_FOLDER}/(?!{OUTPUT_FOLDER}/))?([^/]+)/{OUTPUT_FOLDER}/([^/]+)/([^/]+)(?=/)")
_DIGITS = re.compile("[0-9]+")
_DOTS = frozenset({".", ".."})


class NotAnOutputPrefix(ValueError):
    """A text is no output prefix; the message says what one looks like."""


def find_output_prefix(key: str) -> OutputPrefix | None:
    """The output prefix that an object key lies in, or None where it lies in none.

    It ends with the leftmost whole timestamp behind algorithm and version: a job may repeat such folders inside its own
    outputs. What is no date of the calendar (a 31st of February) is no timestamp.

    Below `shared/` the username is the second segment, since storage permissions bind `shared/{username}/` to its user
    as they bind `{username}/`. `shared/dps_output/…` belongs to the user who is called shared, as it would without that
    rule, and `shared/dps_output/dps_output/…` is an algorithm of theirs that is called dps_output.
    """
    head = _HEAD.match(key)
    if head is None:
        return None
    for found in _TIMESTAMP.finditer(key, head.end()):
        year, month, day, hour, minute, second, microsecond = map(int, found.groups())
        try:
            time = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
        except ValueError:
            continue
        end = found.start() + 1 + _TIMESTAMP_LENGTH
        if not _storable(key[:end]):
            return None
        # An empty tag segment (`//`) says no more than none.
        tag = key[head.end() + 1 : found.start()] or None
        username, algorithm, version = head.groups()
        return OutputPrefix(key[:end], username, algorithm, version, tag, time)
    return None


def parse_output_prefix(prefix: str) -> OutputPrefix:
    """Reads a whole output prefix; its final slash may be left out.

    Raises:
        NotAnOutputPrefix: it is none, or goes on behind the timestamp.
    """
    whole = prefix if prefix.endswith("/") else f"{prefix}/"
    found = find_output_prefix(whole)
    if found is None or found.key != whole:
        raise NotAnOutputPrefix(
            f"{prefix!r} is not an output prefix: it should read"
            f" username/{OUTPUT_FOLDER}/algorithm/version/[tag/]YYYY/MM/DD/HH/mm/ss/microseconds/,"
            " with a date of the calendar and six digits of microseconds."
        )
    return found


def timestamp_pieces(segments: Sequence[str]) -> int:
    """How many of the segments, from the first on, spell the beginning of a timestamp: 7 for a whole one."""
    for at, segment in enumerate(segments[:_PIECES]):
        if len(segment) != _PIECE_LENGTHS[at] or not _DIGITS.fullmatch(segment):
            return at
        low, high = _PIECE_RANGES[at]
        if at == _DAY_PIECE:
            high = monthrange(int(segments[0]), int(segments[1]))[1]
        if not low <= int(segment) <= high:
            return at
    return min(len(segments), _PIECES)


# Of year, month, day, hour, minute, second and microsecond.
_PIECE_LENGTHS = (4, 2, 2, 2, 2, 2, 6)
_PIECE_RANGES = ((1, 9999), (1, 12), (1, 31), (0, 23), (0, 59), (0, 59), (0, 999_999))
_PIECES, _DAY_PIECE = 7, 2


def dated_folders(group: str) -> Iterator[str]:
    """The folders of a group in which its tag departs from what it had begun to spell: a timestamp.

    Of `u/dps_output/a/v1/2024/07/run/` that is `u/dps_output/a/v1/2024/07/`. Only somebody who looks for such a tag
    there finds it among the folders of months and days; of tags that spell no year there are none.

    Args:
        group: everything of an output prefix before its timestamp.
    """
    head = _HEAD.match(group)
    if head is None:
        return
    start = head.end() + 1
    segments = group[start:].split("/")[:-1]
    at = 0
    while at < len(segments):
        pieces = timestamp_pieces(segments[at:])
        at += pieces or 1
        if pieces:
            yield group[:start] + "".join(f"{segment}/" for segment in segments[:at])


def _storable(key: str) -> bool:
    """Whether Postgres can keep the text and no segment would climb a folder."""
    if "\0" in key or any(segment in _DOTS for segment in key.split("/")):
        return False
    try:
        key.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can smuggle into an event
        return False
    return True


def within_job(prefix: str) -> Callable[[str], str]:
    """Gives what shortens keys in a text to what they are as seen from the job's own folder."""
    inside = re.compile(rf"(s3://[^/\s]+/)?{re.escape(prefix)}(?=[^\s.,;])")
    return lambda text: inside.sub("", text)
