"""The job metadata: the `.met.json` sidecar that the DPS writes at the root of a job's outputs.

Here belongs which file it is and what it must hold. Not here: whether it agrees with the key it lies at (`governance`).
"""

from __future__ import annotations

import json
import re
from typing import Any

from maap_stac_orchestration.dps.job import JobMetadata
from maap_stac_orchestration.problems import Code, Problem

_NAME = re.compile(r"(?:output-[^/]+|outputs_result[^/]*)\.met\.json")
_NAMES = ("username", "algorithm_name", "algorithm_version")


def is_metadata_name(name: str) -> bool:
    """Whether a file name, without folders, is one that the DPS gives job metadata.

    Other names that end in `met.json` do not count: a job can write those itself.
    """
    return _NAME.fullmatch(name) is not None


def parse_metadata(raw: bytes, key: str) -> JobMetadata | Problem:
    """The job metadata in the bytes of a sidecar, or the problem `metadata_invalid` about `key`.

    An empty tag is none, as null and absence are. Keys that are not known are kept in `extra`.
    """
    try:
        document = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError:
        return _invalid(key, "It is not UTF-8 text.")
    except RecursionError:
        return _invalid(key, "It is nested too deeply.")
    except ValueError as error:
        return _invalid(key, f"It is not JSON: {error}.")
    if not isinstance(document, dict):
        return _invalid(key, "It is not a JSON object.")
    for name in _NAMES:
        if name not in document:
            return _invalid(key, f"It has no {name}.")
        reason = _unusable(document[name])
        if reason:
            return _invalid(key, f"Its {name} {reason}.")
    tag = document.get("tag")
    if tag is not None and tag != "":
        reason = _unusable(tag)
        if reason:
            return _invalid(key, f"Its tag {reason}.")
    return JobMetadata(
        username=document["username"],
        algorithm_name=document["algorithm_name"],
        algorithm_version=document["algorithm_version"],
        tag=tag or None,
        extra={name: value for name, value in document.items() if name not in _NAMES and name != "tag"},
    )


def _unusable(value: Any) -> str | None:
    """Why a value cannot be a name, or None where it can."""
    if not isinstance(value, str):
        return "is not a text"
    if not value.strip():
        return "is empty"
    if not value.isprintable():
        return "holds characters that cannot be printed"
    return None


def _no_number(_: str) -> None:
    """NaN and Infinity, which Python writes and JSON does not know, become null."""


def _invalid(key: str, detail: str) -> Problem:
    return Problem(Code.METADATA_INVALID, key, detail)
