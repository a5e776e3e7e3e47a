"""docs/choosing-a-collection.md tells algorithm authors about every denial that there is."""

from __future__ import annotations

import re
from pathlib import Path

from maap_stac_orchestration.governance.decision import DecisionCode

PAGE = Path(__file__).parents[3] / "docs" / "choosing-a-collection.md"


def test_every_denial_is_explained_with_what_to_do() -> None:
    section = PAGE.read_text().split("## When a collection was denied")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    denials = [code.value for code in DecisionCode if code not in (DecisionCode.DEFAULT_ASSIGNED, DecisionCode.GRANTED)]
    assert [code for code, _, _ in rows] == denials
    assert all(meaning.strip() and fix.strip() for _, meaning, fix in rows)
