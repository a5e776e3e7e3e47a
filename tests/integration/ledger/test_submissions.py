"""Counts of submissions are what counting the jobs would give, whatever happened to them."""

from __future__ import annotations

from maap_stac_orchestration.ledger.records import State
from maap_stac_orchestration.ledger.submissions import compact, list_submissions
from tests.integration.ledger.build import Connection, discover, prefix, seen, take


def test_jobs_are_counted_by_state_and_the_newest_submission_stands_first(connection: Connection) -> None:
    discover(connection, *(seen(prefix(number)) for number in range(3)))
    discover(connection, seen(prefix(9, username="ben", tag=None)))
    take(connection)
    for compacted in (False, True, True):
        page = list_submissions(connection)
        assert page.total == 2
        assert [(one.username, one.tag, dict(one.states)) for one in page.submissions] == [
            ("ben", None, {State.INGESTING: 1}),
            ("ana", "demo", {State.INGESTING: 3}),
        ]
        assert [one.jobs for one in page.submissions] == [1, 3]
        assert bool(compact(connection)) is not compacted
    assert [one.username for one in list_submissions(connection, text="DEMO").submissions] == ["ana"]
    assert [one.username for one in list_submissions(connection, limit=1, offset=1).submissions] == ["ana"]
