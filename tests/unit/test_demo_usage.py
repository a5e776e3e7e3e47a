"""How `maap-stac demo` is not to be called; nothing is looked for or started then."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from maap_stac_orchestration.cli.demo import command


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--spoil", "--repair"], "--spoil and --repair come one after the other"),
        (["--spoil", "--jobs", "3"], "there are always five spoiled ones"),
        (["--repair", "--jobs", "3"], "there are always five spoiled ones"),
        (["--day", "2026-03-04"], "--day belongs to --spoil and --repair"),
        (["--repair", "--again"], "use it with --spoil"),
        (["--spoil", "--day", "yesterday"], "'yesterday' does not match"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_use(arguments, sentence):
    answer = CliRunner().invoke(command, arguments)
    assert answer.exit_code == 2
    assert sentence in " ".join(answer.output.split())
