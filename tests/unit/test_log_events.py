"""Log events: what a reader of stderr gets for each, and that its page tells the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration import log_events
from maap_stac_orchestration.log_events import COMMON, EVENTS, LOGGER, Event, bound, documentation, emit, to_stderr

PAGE = Path(__file__).parents[2] / "docs" / "log-events.md"


@pytest.fixture(autouse=True)
def _sent_to_stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Events go to stderr within the test, and as before after it."""
    import logging

    logger = logging.getLogger(LOGGER)
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    to_stderr()
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


def values(event: Event) -> dict[str, Any]:
    """A value for each field."""
    return {name: f"the {name}" for name in EVENTS[event].fields}


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines on stderr, read as JSON; splitlines also ends lines where few other readers do."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


@pytest.mark.parametrize("event", Event)
def test_an_event_is_one_line_of_json_with_its_fields_in_reading_order(
    event: Event, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = values(event)
    emit(event, **dict(reversed(fields.items())))
    (line,) = written(capsys)
    assert list(line) == ["event", "at", "level", *EVENTS[event].fields]
    assert line["event"] == str(event)
    assert line["level"] == EVENTS[event].level
    assert {name: line[name] for name in fields} == fields


def test_the_time_is_the_present_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    emit(Event.IDS_MOVED, **values(Event.IDS_MOVED))
    (line,) = written(capsys)
    assert datetime.fromisoformat(line["at"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("change", ["unknown", "missing"])
def test_fields_that_are_not_those_of_the_event_are_refused_also_where_nobody_listens(
    event: Event, change: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    monkeypatch.setattr(logging.getLogger(LOGGER), "disabled", True)
    fields = values(event)
    if change == "unknown":
        fields["colour"] = "blue"
    else:
        fields.popitem()
    with pytest.raises(TypeError, match=f"the event {event} has the fields .* and was given"):
        emit(event, **fields)
    assert written(capsys) == []


@pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "a\u2028b", "a\x85b", 'a"b\\n', "é", "\udc80", "\x1b[2J"])
def test_a_value_never_makes_a_second_line_and_is_read_back_as_it_was(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    emit(Event.REGISTRY_REFUSED, source=value, reason=value, registry_version=value)
    (line,) = written(capsys)
    assert (line["source"], line["reason"], line["registry_version"]) == (value, value, value)


@given(value=st.text(st.characters()) | st.none() | st.integers() | st.booleans())
def test_any_plain_value_comes_back_from_the_rendered_line(value: object) -> None:
    rendered = log_events._log().bind()._process_event("info", "an.event", {"field": value})[0][0]
    assert len(rendered.splitlines()) == 1
    assert rendered.isascii()
    assert json.loads(rendered)["field"] == value


def test_a_value_that_json_does_not_know_is_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    emit(Event.TOKEN_CHANGED, **values(Event.TOKEN_CHANGED) | {"token": Path("a/b")})
    assert written(capsys)[0]["token"] == "a/b"


def test_what_is_bound_stands_in_every_line_within_and_in_none_after(capsys: pytest.CaptureFixture[str]) -> None:
    with bound(run_id="1234"):
        emit(Event.IDS_MOVED, **values(Event.IDS_MOVED))
        with bound(request_id="5678"):
            emit(Event.IDS_MOVED, **values(Event.IDS_MOVED))
    emit(Event.IDS_MOVED, **values(Event.IDS_MOVED))
    run, both, after = written(capsys)
    assert list(run)[:5] == ["event", "at", "level", "run_id", "change"]
    assert list(both)[:5] == ["event", "at", "level", "run_id", "request_id"]
    assert (both["run_id"], both["request_id"]) == ("1234", "5678")
    assert after.keys() & {"run_id", "request_id"} == set()


def test_only_documented_fields_can_be_bound() -> None:
    with pytest.raises(TypeError, match="'user'"):
        bound(user="ana")


def test_fields_of_events_and_common_ones_have_different_names() -> None:
    for description in EVENTS.values():
        assert description.fields.keys() & COMMON.keys() == set()


def test_every_event_is_described_and_needs_no_line_of_markdown_more() -> None:
    assert EVENTS.keys() == set(Event)
    for description in EVENTS.values():
        assert description.fields
        assert not [text for text in (description.when, *description.fields.values()) if "\n" in text or "|" in text]


def test_a_second_call_does_not_write_lines_twice(capsys: pytest.CaptureFixture[str]) -> None:
    to_stderr()
    emit(Event.IDS_MOVED, **values(Event.IDS_MOVED))
    assert len(written(capsys)) == 1


def test_nothing_is_written_and_nothing_imported_before_a_process_asks_for_it() -> None:
    program = (
        "import sys\n"
        "from maap_stac_orchestration import log_events as events\n"
        "fields = {name: 1 for name in events.EVENTS[events.Event.IDS_MOVED].fields}\n"
        "events.emit(events.Event.IDS_MOVED, **fields)\n"
        "assert 'structlog' not in sys.modules\n"
        "events.to_stderr()\n"
        "events.emit(events.Event.IDS_MOVED, **fields)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    assert [json.loads(line)["event"] for line in ran.stderr.splitlines()] == ["collection.items_moved"]


def test_the_command_line_sends_events_to_stderr() -> None:
    program = (
        "import logging, sys\n"
        "from maap_stac_orchestration import cli, log_events as events\n"
        "sys.argv = ['maap-stac', '--version']\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    events.emit(events.Event.IDS_MOVED, **dict.fromkeys(events.EVENTS[events.Event.IDS_MOVED].fields))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("maap-stac")
    assert json.loads(ran.stderr)["event"] == "collection.items_moved"


def test_the_page_is_made_from_the_tables() -> None:
    assert PAGE.read_text() == documentation(), (
        "docs/log-events.md is not what log_events.py describes. Make it anew:"
        " python -m maap_stac_orchestration.log_events > docs/log-events.md"
    )


def test_the_line_on_the_page_has_the_fields_of_its_event() -> None:
    example = log_events._EXAMPLE
    described = [*COMMON, *EVENTS[Event.DECISION].fields]
    assert list(example) == [name for name in described if name not in ("request_id", "sensor")]
