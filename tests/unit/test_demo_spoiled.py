"""The five ways in which jobs of the demo are spoiled: the table, and what each way does to a job's files."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from maap_stac_orchestration.demo import jobs
from maap_stac_orchestration.demo.jobs import demo_jobs
from maap_stac_orchestration.demo.outputs import output_files
from maap_stac_orchestration.demo.spoiled import WAYS, Again, Way, way_of
from maap_stac_orchestration.ledger.records import State

TIME = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
SMALL = 64

each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


def test_there_are_five_ways_each_with_a_code_and_a_job_of_its_own():
    assert len(WAYS) == 5
    for names in ([way.name for way in WAYS], [way.code for way in WAYS], [way.job for way in WAYS]):
        assert len(set(names)) == 5


def test_they_show_every_state_that_a_job_can_bring_about_and_every_means_to_be_looked_at_again():
    assert {way.state for way in WAYS} == {State.LOADED, State.PARTIAL, State.REJECTED}
    assert {way.again for way in WAYS} == set(Again)


def test_none_of_them_is_among_the_jobs_of_the_demo_or_in_their_folder():
    assert not {way.job.prefix(TIME) for way in WAYS} & {job.prefix(TIME) for job in demo_jobs()}
    assert not any(way.job.prefix(TIME).startswith(jobs.folder(layout)) for way in WAYS for layout in jobs.Layout)


@each_way
def test_a_way_is_found_by_its_job(way: Way):
    assert way_of(way.job) is way


@each_way
def test_every_way_changes_what_a_whole_job_would_write(way: Way):
    whole = {file.name: file for file in output_files(way.job, TIME, SMALL)}
    spoiled = {file.name: file for file in way.spoiled_files(TIME, SMALL)}
    assert spoiled != whole
    assert set(whole) <= set(spoiled)


@each_way
def test_the_catalog_is_uploaded_last_so_that_the_job_is_decided_about_at_once(way: Way):
    assert way.spoiled_files(TIME, SMALL)[-1].name == "catalog.json"
    assert "catalog.json" not in [file.name for file in way.repaired_files(TIME, SMALL)[:-1]]


@each_way
def test_who_needs_a_retry_uploads_no_catalog_and_who_uploads_one_needs_none(way: Way):
    uploaded = {file.name for file in way.repaired_files(TIME, SMALL)}
    assert ("catalog.json" in uploaded) == (way.again is Again.BY_ITSELF)


@each_way
def test_a_repair_uploads_only_what_is_other_than_it_was(way: Way):
    spoiled = {file.name: file.data for file in way.spoiled_files(TIME, SMALL)}
    repaired = way.repaired_files(TIME, SMALL)
    assert all(spoiled.get(file.name) != file.data for file in repaired)
    assert bool(repaired) == (way.grants is None)
    assert all(json.loads(file.data) for file in repaired)
