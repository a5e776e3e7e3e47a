"""How somebody who reads a check tries its jobs again: the command, and the launchpad of the job `retry` filled in.

Here belongs how a retry is put into words, commands and links. Not here: the job itself (`retry`) and what a retry does
to a job (`maap_stac_orchestration.ledger.retries`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import dagster as dg
import yaml

from assets.denials import DENIALS
from assets.reporting import Metadata, page_link, table
from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.problems import WORDINGS, Code, Severity
from maap_stac_orchestration.settings import Settings

#: The Dagster job, and its one op.
JOB = "retry"
#: Where the job is found where a run does not know the name of its code location.
LOCATION = "maap_stac_orchestration"


@dataclass(frozen=True, slots=True)
class Picked:
    """Which jobs are meant: by state or code, and by day."""

    state: str | None = None
    code: str | None = None
    day: date | None = None

    @property
    def name(self) -> str:
        """What they are called in lists: the code, or else the state."""
        return self.code or self.state or ""

    @property
    def span(self) -> Mapping[str, str]:
        """The day alone: from its beginning to that of the next."""
        if self.day is None:
            return {}
        return {"since": self.day.isoformat(), "until": (self.day + timedelta(days=1)).isoformat()}

    @property
    def conditions(self) -> Mapping[str, str]:
        """As parameters of lists of jobs, in the API, on the status pages and of a retry."""
        named = {name: value for name, value in (("state", self.state), ("code", self.code)) if value is not None}
        return {**named, **self.span}

    @property
    def force(self) -> bool:
        """Whether jobs that are loaded are meant too: those that lost an asset, or went to another collection."""
        if self.code is None or self.code not in set(Code):
            return False
        code = Code(self.code)
        return WORDINGS[code].severity is Severity.WARNING or (code in DENIALS and code is not Code.IDENTITY_MISMATCH)

    def command(self) -> str:
        """The command that tries them again."""
        words = ["maap-stac", "retry"]
        for name, value in self.conditions.items():
            words += [f"--{name}", value]
        return shlex.join([*words, *(["--force"] if self.force else [])])

    def run_config(self) -> dict[str, Any]:
        """The configuration of a run of the job `retry` that does the same."""
        config: dict[str, Any] = dict(self.conditions)
        if self.force:
            config["force"] = True
        return {"ops": {JOB: {"config": config}}}

    def run_config_text(self) -> str:
        """The same as it is written in the launchpad."""
        return yaml.safe_dump(self.run_config(), sort_keys=False)

    def launchpad(self, settings: Settings, location: str = LOCATION) -> str | None:
        """The address of the launchpad with that configuration filled in; None where the UI's is not known."""
        if not settings.dagster_url:
            return None
        job = f"/locations/{quote(location, safe='')}/jobs/{JOB}/playground/setup"
        query = urlencode({"config": self.run_config_text()}, quote_via=quote)
        return f"{settings.dagster_url.rstrip('/')}{job}?{query}"

    def metadata(self, settings: Settings, location: str = LOCATION) -> Metadata:
        """Links to their list on the status pages and to the launchpad; nothing where the addresses are not known."""
        found = page_link(f"jobs/{self.name}", settings, "status/jobs", **self.conditions)
        if launchpad := self.launchpad(settings, location):
            found[f"retry/{self.name}"] = dg.MetadataValue.url(launchpad)
        return found


def retry_table(groups: Iterable[tuple[Picked, int]]) -> dg.TableMetadataValue:
    """How many jobs of each group there are, what is to be changed first, and the command."""
    return table(
        ("jobs", "code", "fix", "command"),
        (
            {"jobs": number, "code": picked.name, "fix": fix_of(picked.name), "command": picked.command()}
            for picked, number in groups
        ),
    )


def location_of(run: dg.DagsterRun) -> str:
    """The name of the code location that a run came from, by which the UI finds the job `retry`."""
    origin = run.remote_job_origin
    return origin.repository_origin.code_location_origin.location_name if origin is not None else LOCATION


def fix_of(name: str) -> str:
    """What is to be done before jobs with this code, or in this state, are tried again."""
    if name in set(Code):
        return WORDINGS[Code(name)].fix
    return _FIX_OF_STATE.get(name, _FIX_OF_STATE[State.FAILED])


#: Where jobs are told apart by state; those without a problem of their own failed.
_FIX_OF_STATE: Mapping[str, str] = {
    State.FAILED: "Find in a job's history, or in its run, what broke; mend that, then try the jobs again.",
    State.REJECTED: "Let each author change what the job's page says; a catalog uploaded again is read by itself.",
    State.PARTIAL: "Let each author mend what the job's page lists; a catalog uploaded again is read by itself.",
}
