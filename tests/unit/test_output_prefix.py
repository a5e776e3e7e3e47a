"""Output prefixes are read from the timestamp leftwards."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.dps.output_prefix import (
    NotAnOutputPrefix,
    dated_folders,
    find_output_prefix,
    parse_output_prefix,
    timestamp_pieces,
)

TIME = "2025/08/19/09/59/01/262274"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"u/dps_output/a/v1/{TIME}/catalog.json", ("u", "a", "v1", None)),
        (f"u/dps_output/a_12/v1/{TIME}/x/y/catalog.json", ("u", "a_12", "v1", None)),
        (f"u/dps_output/a/v1/tag/{TIME}/catalog.json", ("u", "a", "v1", "tag")),
        (f"u/dps_output/a/v1/AGB_2020/full_run/{TIME}/catalog.json", ("u", "a", "v1", "AGB_2020/full_run")),
        (f"u/dps_output/a/v1/2025/08/{TIME}/catalog.json", ("u", "a", "v1", "2025/08")),
        (f"u/dps_output/a/v1/2025/{TIME}/catalog.json", ("u", "a", "v1", "2025")),
        (f"u/dps_output/a/v1/2025/02/30/09/59/01/262274/{TIME}/c", ("u", "a", "v1", "2025/02/30/09/59/01/262274")),
        (f"u/dps_output/a/v1/{TIME}/2026/01/01/00/00/00/000000/catalog.json", ("u", "a", "v1", None)),
        (f"u/dps_output/dps_output/2025/{TIME}/catalog.json", ("u", "dps_output", "2025", None)),
        (f"u/dps_output/a/v1//{TIME}/catalog.json", ("u", "a", "v1", None)),
        (f"shared/u/dps_output/a/v1/{TIME}/catalog.json", ("u", "a", "v1", None)),
        (f"shared/u/dps_output/a/v1/t/2024/{TIME}/catalog.json", ("u", "a", "v1", "t/2024")),
        # A user who is really called shared.
        (f"shared/dps_output/a/v1/{TIME}/catalog.json", ("shared", "a", "v1", None)),
        (f"shared/dps_output/a/v1/t/{TIME}/catalog.json", ("shared", "a", "v1", "t")),
        (f"shared/dps_output/dps_output/a/{TIME}/catalog.json", ("shared", "dps_output", "a", None)),
        (f"shared/dps_output/dps_output/a/v1/{TIME}/catalog.json", ("shared", "dps_output", "a", "v1")),
        (f"shared/shared/dps_output/a/v1/{TIME}/catalog.json", ("shared", "a", "v1", None)),
        (f"ü b/dps_output/a b/v+1/t ä/{TIME}/catalog.json", ("ü b", "a b", "v+1", "t ä")),
    ],
)
def test_a_key_tells_user_algorithm_version_and_tag(key, expected):
    found = find_output_prefix(key)

    assert found is not None
    assert (found.username, found.algorithm, found.version, found.tag) == expected
    assert found.time == datetime(2025, 8, 19, 9, 59, 1, 262274, tzinfo=UTC)
    assert found.day == date(2025, 8, 19)
    assert key.startswith(found.key)
    assert found.key == f"{found.group}{TIME}/"
    assert parse_output_prefix(found.key) == found
    assert parse_output_prefix(found.key.removesuffix("/")) == found


@pytest.mark.parametrize(
    "key",
    [
        "",
        "catalog.json",
        f"u/dps_output/a/{TIME}/catalog.json",  # no version
        f"dps_output/a/v1/{TIME}/catalog.json",  # no username
        f"/dps_output/a/v1/{TIME}/catalog.json",
        f"u//dps_output/a/v1/{TIME}/catalog.json",
        f"u/other/a/v1/{TIME}/catalog.json",
        f"x/u/dps_output/a/v1/{TIME}/catalog.json",
        f"shared/x/u/dps_output/a/v1/{TIME}/catalog.json",
        f"Shared/u/dps_output/a/v1/{TIME}/catalog.json",
        f"shared//dps_output/a/v1/{TIME}/catalog.json",
        f"u/dps_output/a//{TIME}/catalog.json",
        f"u/dps_output/a/v1/{TIME}",  # a file of that name, not a folder
        "u/dps_output/a/v1/2025/02/30/09/59/01/262274/catalog.json",
        "u/dps_output/a/v1/0000/01/01/00/00/00/000000/catalog.json",
        "u/dps_output/a/v1/2025/08/19/24/00/00/000000/catalog.json",
        "u/dps_output/a/v1/2025/08/19/09/59/60/000000/catalog.json",
        "u/dps_output/a/v1/2025/8/19/09/59/01/262274/catalog.json",
        "u/dps_output/a/v1/2025/08/19/09/59/01/262/catalog.json",
        "u/dps_output/a/v1/2025/08/19/09/59/01/catalog.json",
        "u/dps_output/a/v1/２０２５/08/19/09/59/01/262274/catalog.json",  # digits, but not ASCII's
        f"u/dps_output/a/v1/../{TIME}/catalog.json",
        f"u/dps_output/a/v1/x\0/{TIME}/catalog.json",
        f"u/dps_output/a/v1/\ud800/{TIME}/catalog.json",
    ],
)
def test_other_keys_lie_in_no_output_prefix(key):
    assert find_output_prefix(key) is None


@pytest.mark.parametrize("prefix", ["", "u/dps_output/a/v1/", f"u/dps_output/a/v1/{TIME}/items/", f"/{TIME}/"])
def test_what_is_no_output_prefix_is_told_in_a_sentence(prefix):
    with pytest.raises(NotAnOutputPrefix, match="is not an output prefix: it should read"):
        parse_output_prefix(prefix)


segments = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda text: text not in {".", ".."}
)


@given(segments, segments, segments, st.lists(segments), st.datetimes(), st.lists(segments), st.booleans())
def test_every_prefix_that_is_put_together_is_found_again(username, algorithm, version, tag, time, rest, shared):
    stamp = f"{time.year:04}/{time:%m/%d/%H/%M/%S/%f}"
    prefix = "/".join([*(["shared"] if shared else []), username, "dps_output", algorithm, version, *tag, stamp]) + "/"

    found = find_output_prefix(prefix + "/".join(rest))

    assert found is not None
    assert (found.username, found.algorithm, found.version) == (username, algorithm, version)
    assert found.key == prefix
    assert found.tag == ("/".join(tag) or None)
    assert found.time == time.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "pieces"),
    [
        ("2025", 1),
        ("2025/08/19/09/59/01/262274", 7),
        ("2025/08/19/09/59/01/262274/08", 7),
        ("2024/02/29/23", 4),
        ("2025/02/29", 2),
        ("2025/13", 1),
        ("0000/01", 0),
        ("2025/8", 1),
        ("2025/08/19/24", 3),
        ("2025/08/19/09/60", 4),
        ("2025/08/19/09/59/01/26227", 6),
        ("２０２５", 0),
        ("2025/+8", 1),
        ("run/2025", 0),
        ("", 0),
    ],
)
def test_folders_spell_the_beginning_of_a_timestamp_as_far_as_there_can_be_such_a_time(path, pieces):
    assert timestamp_pieces(path.split("/")) == pieces


@pytest.mark.parametrize(
    ("group", "folders"),
    [
        ("u/dps_output/a/v1/", []),
        ("u/dps_output/2025/2025/", []),
        ("u/dps_output/a/v1/tag/with/slashes/", []),
        ("u/dps_output/a/v1/2024/07/run/", ["u/dps_output/a/v1/2024/07/"]),
        ("shared/u/dps_output/a/v1/2024/", ["shared/u/dps_output/a/v1/2024/"]),
        ("u/dps_output/a/v1/x/2024/2023/07/", ["u/dps_output/a/v1/x/2024/", "u/dps_output/a/v1/x/2024/2023/07/"]),
        ("u/dps_output/a/v1/2024/02/30/", ["u/dps_output/a/v1/2024/02/"]),
    ],
)
def test_a_tag_that_begins_like_a_timestamp_departs_from_it_in_a_folder(group, folders):
    assert list(dated_folders(group)) == folders


@given(st.text(st.sampled_from("u/dps_output0123456789"), max_size=80))
def test_no_key_makes_it_fail(key):
    found = find_output_prefix(key)
    assert found is None or key.startswith(found.key)
