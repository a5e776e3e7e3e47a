"""The sidecar of a job: without it nobody knows whose items these are."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

import pytest

from maap_stac_orchestration.problems import Code
from maap_stac_orchestration.store.objects import (
    ObjectMissing,
    ObjectTooLarge,
    ObjectUnreadable,
)
from tests.unit.pipeline.reading import (
    BUCKET,
    METADATA,
    NOW,
    PREFIX,
    SIDECAR,
    catalog,
    claim,
    ids,
    item,
    memory,
    problems,
    read,
)


class TestMetadata:
    DOCUMENTS: ClassVar = {"catalog.json": catalog(("item", "x.json"), ("item", "gone.json")), "x.json": item("x")}

    def test_while_it_may_still_arrive_no_document_is_read(self):
        store = memory(self.DOCUMENTS, metadata=None)

        job = read(store, job=claim(wait_until=NOW + timedelta(seconds=1)))

        assert job.awaiting
        assert problems(job) == [(Code.METADATA_MISSING, "")]
        assert job.job is None
        assert not store.fetched

    @pytest.mark.parametrize("wait_until", [None, NOW, NOW - timedelta(days=1)])
    def test_after_that_all_problems_are_told_and_no_items(self, wait_until):
        job = read(memory(self.DOCUMENTS, metadata=None), job=claim(wait_until=wait_until))

        assert not job.awaiting
        assert problems(job) == [(Code.METADATA_MISSING, ""), (Code.LINK_MISSING, "gone.json")]
        assert (job.job, job.items, job.metadata_username) == (None, (), None)

    def test_files_that_the_job_wrote_itself_do_not_count(self):
        documents = self.DOCUMENTS | {"sub/output-1.met.json": METADATA, "my.met.json": METADATA}

        job = read(memory(documents, metadata=None))

        assert job.problems[0].code is Code.METADATA_MISSING

    def test_two_are_too_many(self):
        job = read(memory(self.DOCUMENTS | {"outputs_result-1.met.json": METADATA}))

        assert job.problems[0].code is Code.METADATA_AMBIGUOUS
        assert "outputs_result-1.met.json" in job.problems[0].detail
        assert (job.job, job.items) == (None, ())

    @pytest.mark.parametrize("content", [b"{", b"[]", {"username": "u"}, METADATA | {"algorithm_version": 1}])
    def test_what_cannot_be_used_is_invalid(self, content):
        job = read(memory(self.DOCUMENTS | {SIDECAR: content}, metadata=None))

        assert problems(job)[0] == (Code.METADATA_INVALID, SIDECAR)
        assert (job.job, job.items) == (None, ())

    def test_one_that_cannot_be_had_is_told(self):
        key = PREFIX + SIDECAR
        for error, code in [
            (ObjectMissing(BUCKET, key), Code.METADATA_MISSING),
            (ObjectUnreadable(BUCKET, key, "archived"), Code.METADATA_INVALID),
            (ObjectTooLarge(BUCKET, key, 3, 2), Code.METADATA_INVALID),
        ]:
            assert read(memory(self.DOCUMENTS, broken={key: error})).problems[0].code is code

    def test_another_user_in_it_is_left_to_governance(self):
        job = read(memory(self.DOCUMENTS, metadata=METADATA | {"username": "someone"}))

        assert job.metadata_username == "someone"
        assert job.job is not None
        assert job.job.username == "u"
        assert ids(job) == ["x"]
