"""Programs that stand in for Node.js and npm, which take minutes and the network: shell scripts on a PATH of their own.

They do what a build sees of the real ones: npm puts the published source in its place, webpack writes dist/.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from maap_stac_orchestration.browser.build import SOURCE

_NPM = """#!/bin/sh
if [ "$1" = --version ]; then echo 11.0.0; exit 0; fi
echo "npm $*" >> "$CALLS"
env | sed 's/=.*//' >> "$CALLS.environment"
{npm}
cp -r "{published}/." .
"""
_NODE = """#!/bin/sh
if [ "$1" = --version ]; then echo {version}; exit 0; fi
echo "node $*" >> "$CALLS"
{node}
mkdir -p dist/js
cp public/index.html dist/index.html
cat src/rels.js > dist/js/app.0123abcd.js
"""


class Tools:
    """A PATH with a node and an npm, and what was asked of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls_file = folder / "calls"
        self.published = folder / "published"
        package = self.published / "node_modules" / "@radiantearth" / "stac-browser"
        for patch in json.loads((SOURCE / "patches.json").read_text()):
            path = package / patch["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"before\n{patch['old']}after\n")
        (package / "LICENSE").write_text("ISC License of STAC Browser")
        (package / "config.js").write_text("their config")
        self.put()

    def put(self, *, version: str = "v22.1.0", npm: str = "", node: str = "") -> None:
        """Writes both; `npm` and `node` are lines of shell that they run first."""
        programs = {
            "npm": _NPM.format(npm=npm, published=self.published),
            "node": _NODE.format(version=version, node=node),
        }
        for name, text in programs.items():
            program = self.folder / name
            program.write_text(text)
            program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """An environment that knows these and the system's own programs for files alone."""
        return {"PATH": f"{self.folder}:/usr/bin:/bin", "CALLS": str(self.calls_file), "HOME": os.environ["HOME"]}

    def calls(self) -> list[str]:
        """What was run, one line each."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """Stand-ins for Node.js and npm that do their work."""
    folder = tmp_path / "tools"
    folder.mkdir()
    return Tools(folder)
