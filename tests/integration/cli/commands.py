"""What a call of `maap-stac` gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The document that a command which went well printed."""
        assert self.code == 0, self.stderr
        return json.loads(self.stdout)


Run = Callable[..., Answer]
