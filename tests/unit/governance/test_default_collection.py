"""Default ids are those of the contract, whatever jobs are called."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.governance.default_collection import (
    DEFAULT_TEMPLATE,
    MAX_LENGTH,
    JobNames,
    TemplateError,
    check_template,
    default_collection_id,
)
from maap_stac_orchestration.settings import Settings

WITHOUT_TAG = "{username}__{algorithm_name}__{algorithm_version}"

anything = st.text(max_size=40)
jobs = st.tuples(anything, anything, anything, st.none() | anything)


@pytest.mark.parametrize(
    ("job", "template", "plain"),
    [
        (
            ("henrydevseed", "HLSCloudFreeTemporalMosaic", "v0.1.1", "demo"),
            DEFAULT_TEMPLATE,
            "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo",
        ),
        (("ana", "flood", "main", None), DEFAULT_TEMPLATE, "ana__flood__main"),
        (("ana", "flood", "main", ""), DEFAULT_TEMPLATE, "ana__flood__main"),
        (("ana", "flood map", "feature/x", "run 1//è"), DEFAULT_TEMPLATE, "ana__flood-map__feature-x__run-1-"),
        (("ana", "a?#b", "v1", "/"), DEFAULT_TEMPLATE, "ana__a-b__v1__-"),
        (("ana", "a-/-b", "v1", "t"), DEFAULT_TEMPLATE, "ana__a---b__v1__t"),
        (("ana", "flood", "main", "t"), WITHOUT_TAG, "ana__flood__main"),
        (("ana", "flood", "main", None), "dps__{username}__{algorithm_name}-v{algorithm_version}__run-{tag}", None),
        (("ana", "flood", "main", "t"), "{tag}__{algorithm_name}__{username}", "t__flood__ana"),
        (("ana", "flood", "main", None), "{tag}__{algorithm_name}__{username}", "flood__ana"),
    ],
)
def test_the_id_is_the_names_joined(job: tuple[str, str, str, str | None], template: str, plain: str | None) -> None:
    expected = plain or "dps__ana__flood-vmain"
    default = default_collection_id(job, template)
    assert (default.plain, default.preferred, default.must_hash) == (expected, expected, False)


def test_a_name_is_replaced_before_it_is_joined() -> None:
    assert default_collection_id(("ana", "x/", "/y", None)).plain == "ana__x-__-y"


def test_the_hash_is_that_of_the_documented_bytes() -> None:
    default = default_collection_id(("ana", "flood é", "v1", None))
    written = '["ana","flood \\u00e9","v1",null]'
    assert default.owner.canonical() == written.encode()
    assert default.hashed == f"ana__flood-__v1-{sha256(written.encode()).hexdigest()[:8]}"


def test_beyond_128_characters_the_id_ends_in_a_hash() -> None:
    longest = default_collection_id(("ana", "a" * 118, "v1", None))
    too_long = default_collection_id(("ana", "a" * 121, "v1", None))
    assert (len(longest.plain), longest.must_hash) == (127, False)
    assert (len(too_long.plain), too_long.must_hash) == (130, True)
    assert too_long.preferred == too_long.hashed
    assert len(too_long.hashed) == MAX_LENGTH


def test_names_that_lose_something_keep_hashes_of_their_own() -> None:
    one, other = default_collection_id(("ana", "a b", "v1", None)), default_collection_id(("ana", "a/b", "v1", None))
    assert one.plain == other.plain
    assert one.hashed != other.hashed


def test_a_user_called_like_the_beginning_of_anothers_id_is_another_owner() -> None:
    victim = default_collection_id(("ana", "b", "c", "v"))
    attacker = default_collection_id(("ana__b", "c", "v", None))
    assert attacker.plain == victim.plain
    assert attacker.owner != victim.owner
    assert attacker.hashed != victim.hashed


def test_names_that_the_template_leaves_out_do_not_tell_owners_apart() -> None:
    one, other = (default_collection_id(("ana", "flood", "v1", tag), WITHOUT_TAG) for tag in ("x", "y"))
    assert one == other
    assert one.owner == JobNames("ana", "flood", "v1", None)
    assert one == default_collection_id(("ana", "flood", "v1", None), DEFAULT_TEMPLATE)


@given(job=jobs)
def test_every_job_has_an_id_of_the_allowed_characters(job: tuple[str, str, str, str | None]) -> None:
    default = default_collection_id(job)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", default.plain)
    assert "__" in default.plain
    assert default.must_hash == (len(default.plain) > MAX_LENGTH)
    for candidate in default.candidates():
        assert len(candidate) <= MAX_LENGTH
    assert len(set(default.candidates())) >= 4


@given(job=st.tuples(*[st.characters(codec=None) | st.text()] * 4))
def test_lone_surrogates_and_control_characters_are_names_too(job: tuple[str, str, str, str]) -> None:
    assert default_collection_id(job) == default_collection_id(job)


@given(one=jobs, other=jobs)
def test_different_names_have_different_owners(
    one: tuple[str, str, str, str | None], other: tuple[str, str, str, str | None]
) -> None:
    same = (*one[:3], one[3] or None) == (*other[:3], other[3] or None)
    assert (default_collection_id(one).owner == default_collection_id(other).owner) == same


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{username}__{algorithm}", "not known"),
        ("{username}__{algorithm_name!r}", "not known"),
        ("{username.__class__}__{algorithm_name}", "brace|not known"),
        ("{algorithm_name}__{tag}", "must contain {username}"),
        ("{username}", "two parts"),
        ("{username}-{algorithm_name}", "two parts"),
        ("{username}__{tag}", "two parts"),
        ("{username}__{algorithm_name", "no partner"),
        ("{username}__a/{algorithm_name}", "only letters"),
        ("{username}__", "empty"),
        ("", "empty"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        check_template(template)


def test_the_default_template_is_that_of_the_settings() -> None:
    assert Settings.model_fields["default_collection_template"].default == DEFAULT_TEMPLATE
    assert check_template(DEFAULT_TEMPLATE) == DEFAULT_TEMPLATE
