"""docs/governance.md says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from maap_stac_orchestration.governance.decide import RESERVED_NAMES, ExistingCollections, decide
from maap_stac_orchestration.governance.decision import DecisionCode, Request
from maap_stac_orchestration.governance.default_collection import DEFAULT_TEMPLATE, JobNames
from maap_stac_orchestration.governance.registry import RegistryError, load_registry

PAGE = (Path(__file__).parents[3] / "docs" / "governance.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_registries_of_the_page_load() -> None:
    for text in blocks("yaml") + blocks("json"):
        assert load_registry(text, "docs/governance.md").entries


def test_a_refused_file_looks_as_shown() -> None:
    text = 'version: 1\n\n\n\n\n\ngrants:\n  - collection: "ma*p"\n    users: ["@x"]\n'
    with pytest.raises(RegistryError) as caught:
        load_registry(text, "registry.yaml")
    assert f"{caught.value}\n" == blocks("text")[0]


def test_every_decision_is_in_the_table_in_its_order() -> None:
    assert re.findall(r"^\| `(\w+)` \| (?:the (?:job|item)|default|denied|accepted)", PAGE, re.MULTILINE) == list(
        DecisionCode
    )


def test_the_names_that_the_api_needs_are_listed() -> None:
    paragraph = re.search(r"^The API needs (.*?)\.\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    assert set(re.findall("`(.*?)`", paragraph[1])) == RESERVED_NAMES


def test_the_default_template_and_what_is_hashed_are_as_shown() -> None:
    assert f"`{DEFAULT_TEMPLATE}`" in PAGE
    assert f"`{JobNames('ana', 'flood map', 'v1', None).canonical().decode()}`" in PAGE


def test_the_cases_of_the_page_are_decided() -> None:
    registry = load_registry(blocks("yaml")[0], "docs/governance.md")
    lines = re.findall(r'^\{"username".*\}$', blocks("shell")[1], re.MULTILINE)
    codes = []
    for line in lines:
        case = json.loads(line)
        names = (case["username"], case["algorithm"], case["version"], None)
        request = Request(*names, case["collection"], "default__collection")
        codes.append(decide(request, registry, ExistingCollections.of(())).code.value)
    assert codes == ["granted", "user_not_authorized"]
