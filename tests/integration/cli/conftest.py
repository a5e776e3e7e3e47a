"""`maap-stac` as somebody at the command line calls it, over a fresh database."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from maap_stac_orchestration.cli import main
from maap_stac_orchestration.settings import settings
from tests.integration.cli.commands import Answer, Run


@pytest.fixture
def maap_stac(
    database_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs `maap-stac` with arguments, over a fresh database and the environment as it is at that moment."""

    def call(*arguments: str) -> Answer:
        settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["maap-stac", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Answer(ended.value.code, printed.out, printed.err)

    yield call
    settings.cache_clear()
