"""That STAC Browser shows first what the pages and the API's links show first."""

from __future__ import annotations

import json
import re

from maap_stac_orchestration.browser.build import SOURCE
from maap_stac_orchestration.catalog.renders import FIRST


def test_stac_browser_prefers_the_renders_that_the_pages_prefer():
    (names,) = re.findall(r"^const FIRST = (\[.*\]);$", (SOURCE / "config.js").read_text(), re.MULTILINE)
    assert json.loads(names) == list(FIRST)
