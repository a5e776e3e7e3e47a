"""Collections that the server's locks do not suffice for are told in time, with a setting that suffices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maap_stac_orchestration.pgstac.limits import Locks

#: A partition with three indexes for each collection; what PostgreSQL promises by default; what the embedded one does.
DEFAULT, EMBEDDED = (6_400, 64), (204_800, 1_024)


def locks(collections: int, server: tuple[int, int]) -> Locks:
    return Locks(collections, 4 * collections, *server)


@pytest.mark.parametrize(
    ("collections", "server", "scarce", "exhausted"),
    [
        (100, DEFAULT, False, False),
        (300, DEFAULT, True, False),
        # Where reading over all collections was seen to fail.
        (3_000, DEFAULT, True, True),
        (5_000, EMBEDDED, False, False),
        (10_000, EMBEDDED, True, False),
        (50_000, EMBEDDED, True, True),
    ],
)
def test_it_is_told_before_searches_fail(collections, server, scarce, exhausted):
    found = locks(collections, server)
    assert (found.scarce, found.exhausted) == (scarce, exhausted)


@pytest.mark.parametrize("collections", [300, 3_000, 10_000])
def test_what_is_advised_suffices_for_twice_as_many(collections):
    found = locks(collections, DEFAULT)
    assert str(found.enough) in found.fix
    advised = replace(found, setting=found.enough, room=found.enough * 100)
    assert not replace(advised, collections=2 * collections, per_search=2 * found.per_search).scarce


def test_the_sentence_tells_how_many_searches_have_room():
    assert "takes 1200 locks" in locks(300, DEFAULT).message
    assert "more than 5 such searches" in locks(300, DEFAULT).message
    assert "such searches fail" in locks(3_000, DEFAULT).message
