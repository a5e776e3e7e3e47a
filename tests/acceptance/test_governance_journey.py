"""What docs/governance.md promises an administrator: the commands of its walk-through, run as they stand there.

Here the page itself is what is executed, with jobs of the team between its commands.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.client import StackClient
from tests.acceptance.conftest import MAAP_STAC, clean_environment

pytestmark = pytest.mark.stack

PAGE = Path(__file__).parents[2] / "docs" / "governance.md"
SECTION = "Let a team write to a prefix"
COLLECTION = "maap-floods-2025"


def commands_of_the_page() -> list[list[str]]:
    """The commands of the section, in their order, as lists of arguments after `maap-stac`."""
    section = PAGE.read_text().split(f"\n## {SECTION}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\$ maap-stac (.+)$", section, re.MULTILINE)
    return [shlex.split(line) for line in lines]


class Administrator:
    """Somebody at the command line with the page open."""

    def __init__(self, client: StackClient) -> None:
        self.client = client

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MAAP_STAC, *arguments],
            env=clean_environment() | self.client.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def asks(self, *arguments: str) -> Any:
        ran = self.run(*arguments, "--json")
        assert ran.stdout, ran.stderr
        return json.loads(ran.stdout)


def run_job(client: StackClient, user: str, version: str, name: str) -> dict[str, Any]:
    """A job of the team's algorithm that asks for the collection; gives what became of it."""
    prefix = f"{user}/dps_output/flood-detector/{version}/journey/{datetime.now(UTC):%Y/%m/%d/%H/%M/%S/%f}/"
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "collection": COLLECTION,
        "geometry": {"type": "Point", "coordinates": [1.0, 2.0]},
        "bbox": [1.0, 2.0, 1.0, 2.0],
        "properties": {"datetime": "2025-06-01T00:00:00Z"},
        "links": [],
        "assets": {},
    }
    metadata = {"username": user, "algorithm_name": "flood-detector", "algorithm_version": version, "tag": "journey"}
    catalog = {
        "type": "Catalog",
        "id": "DPS",
        "stac_version": "1.1.0",
        "description": "outputs",
        "links": [{"rel": "item", "href": "./item.json"}],
    }
    client.put(f"{prefix}item.json", item)
    client.put(f"{prefix}output-2026-01-01T00:00:00.000000.met.json", metadata)
    client.put(f"{prefix}catalog.json", catalog)
    return client.await_jobs([prefix])[prefix]


def test_an_administrator_lets_a_team_in_sees_it_and_proves_it_with_the_page_alone(stack: dict[str, Any]) -> None:
    client = StackClient(stack)
    administrator = Administrator(client)
    team, grant, allowed, other_version, decisions, revoke, _, history = commands_of_the_page()

    refused = run_job(client, "hrodmn", "v1.2", "too-early")
    assert [one["decision"] for one in refused["decisions"]] == ["user_not_authorized"]

    for command in (team, grant):
        ran = administrator.run(*command)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert administrator.asks(*allowed)["decision"] == "granted"
    assert administrator.asks(*other_version)["decision"] == "algorithm_not_approved"

    written = run_job(client, "hrodmn", "v1.2", "of-the-team")
    assert [(one["id"], one["collection"]) for one in written["items"]] == [("of-the-team", COLLECTION)]
    wrong_version = run_job(client, "jjfrench", "v1.3", "of-another-version")
    assert [one["decision"] for one in wrong_version["decisions"]] == ["algorithm_not_approved"]
    [item] = wrong_version["items"]
    assert item["collection"] == "jjfrench__flood-detector__v1.3__journey"
    stranger = run_job(client, "mallory", "v1.2", "of-a-stranger")
    assert [one["decision"] for one in stranger["decisions"]] == ["user_not_authorized"]
    [granted] = [one for one in administrator.asks(*decisions)["decisions"] if one["decision"] == "granted"]
    assert granted["username"] == "hrodmn"
    number = re.match(r'grant (\d+) "maap-floods-\*"', granted["rule"])
    assert number, granted["rule"]

    # The page says 1, which is the number in an empty database.
    ran = administrator.run(*[number[1] if one == "1" else one for one in revoke])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    late = run_job(client, "hrodmn", "v1.2", "too-late")
    assert [one["decision"] for one in late["decisions"]] == ["user_not_authorized"]
    found = client.stac().search(collections=[COLLECTION]).items()
    assert [one.id for one in found] == ["of-the-team"]

    trail = [(one["username"], one["version"], one["decision"]) for one in administrator.asks(*decisions)["decisions"]]
    assert trail == [
        ("hrodmn", "v1.2", "user_not_authorized"),
        ("mallory", "v1.2", "user_not_authorized"),
        ("jjfrench", "v1.3", "algorithm_not_approved"),
        ("hrodmn", "v1.2", "granted"),
        ("hrodmn", "v1.2", "user_not_authorized"),
    ]
    over_http = client.get(f"/decisions?requested={COLLECTION}")
    assert over_http
    assert [one["decision"] for one in over_http["decisions"]] == [code for _, _, code in trail]
    changes = [
        (one["action"], one["subject"], one["reason"])
        for one in reversed(administrator.asks(*history)["history"])
        if one["what"] == "change" and one["subject"] in ("boreal", "maap-floods-*")
    ]
    assert changes == [
        ("team", "boreal", "Flood project, ticket 4711"),
        ("grant", "maap-floods-*", "Flood project, ticket 4711"),
        ("revoke", "maap-floods-*", "The project has ended"),
    ]
    then = administrator.run("registry", "export", "--version", granted["registry_version"])
    assert "maap-floods-*" in then.stdout
    now = administrator.run("registry", "export")
    assert "maap-floods-*" not in now.stdout
