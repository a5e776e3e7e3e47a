"""Choosing versions of what STAC Browser is built from afresh, for `make lock`.

Here belongs writing `source/package-lock.json`. Not here: the build, which takes just what stands there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from maap_stac_orchestration.browser.build import SOURCE
from maap_stac_orchestration.browser.node import Node
from maap_stac_orchestration.browser.problems import BrowserUnavailable

_LOCK = "package-lock.json"


def write_lock(node: Node, environment: Mapping[str, str]) -> Path:
    """Writes package-lock.json for what package.json asks for; gives its path.

    Raises:
        BrowserUnavailable: npm could not, or it would name the host of a registry.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", ".npmrc"):
            shutil.copyfile(SOURCE / name, Path(folder, name))
        options = ("install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund")
        path = os.pathsep.join([str(Path(node.node).parent), environment.get("PATH", os.defpath)])
        ran = subprocess.run(  # noqa: S603  # found on the PATH, or ours
            [*node.npm, *options], cwd=folder, env={**environment, "PATH": path}, check=False
        )
        written = Path(folder, _LOCK)
        if ran.returncode != 0 or not written.is_file():
            raise BrowserUnavailable("npm could not choose versions for STAC Browser; see above.")
        text = written.read_text()
        if re.search(r'"resolved": "https?:', text):
            raise BrowserUnavailable(
                f"The new {_LOCK} names the registry that packages came from, and was not kept: npm must be of version "
                "8.18 or later, which knows omit-lockfile-registry-resolved."
            )
        (SOURCE / _LOCK).write_text(text)
    return SOURCE / _LOCK
