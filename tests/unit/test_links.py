"""Links are followed downwards, inside the job, and nowhere else."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.links import Target, follow, resolve, shown
from maap_stac_orchestration.problems import Code, Problem

PREFIX = "u/dps_output/a/v1/2025/08/19/09/59/01/262274/"
ROOT = f"{PREFIX}catalog.json"
NESTED = f"{PREFIX}one/two/collection.json"


def follow_one(href, key=ROOT, rel="item"):
    [found] = follow({"links": [{"rel": rel, "href": href}]}, key, bucket="bucket", prefix=PREFIX)
    return found


@pytest.mark.parametrize(
    ("href", "key", "expected"),
    [
        ("./items/x.json", ROOT, ["items/x.json"]),
        ("items/x.json", ROOT, ["items/x.json"]),
        ("items//x.json", ROOT, ["items/x.json"]),
        ("./a/../items/./x.json", ROOT, ["items/x.json"]),
        ("../x.json", NESTED, ["one/x.json"]),
        ("../../x.json", NESTED, ["x.json"]),
        ("../../../262274/x.json", NESTED, ["x.json"]),
        (f"s3://bucket/{PREFIX}x.json", ROOT, ["x.json"]),
        (f"S3://bucket/{PREFIX}x.json", ROOT, ["x.json"]),
        (f"s3://bucket/{PREFIX}a%20b.json", ROOT, ["a%20b.json", "a b.json"]),
        (f"/{PREFIX}x.json", ROOT, ["x.json"]),
        ("a%20b.json", ROOT, ["a b.json", "a%20b.json"]),
        ("a%2Fb.json", ROOT, ["a/b.json", "a%2Fb.json"]),
        ("%c3%a4.json", ROOT, ["ä.json", "%c3%a4.json"]),
        ("%ff.json", ROOT, ["%ff.json"]),
        ("100%.json", ROOT, ["100%.json"]),
        ("%252e%252e/x.json", ROOT, ["%2e%2e/x.json", "%252e%252e/x.json"]),
        ("x.json#part", ROOT, ["x.json", "x.json#part"]),
        ("x.json?y=1", ROOT, ["x.json", "x.json?y=1"]),
        ("a b.json", ROOT, ["a b.json"]),
        ("x\\y.json", ROOT, ["x\\y.json"]),
        ("..\\..\\x.json", ROOT, ["..\\..\\x.json"]),
        ("output-2025-08-19T09:59:01.json", ROOT, ["output-2025-08-19T09:59:01.json"]),
        ("#part", NESTED, ["one/two/collection.json"]),
        ("items/", ROOT, ["items/"]),
    ],
)
def test_hrefs_become_keys(href, key, expected):
    found = follow_one(href, key)

    assert isinstance(found, Target)
    assert found.keys == tuple(PREFIX + one for one in expected)


@pytest.mark.parametrize(
    "href",
    [
        "http://example.com/x.json",
        "https://bucket.s3.amazonaws.com/x.json",
        "file:///etc/passwd",
        "file:x.json",
        "//host/x.json",
        "///x.json",
        "/tmp/output/x.json",
        "/etc/passwd",
        "/vsis3/bucket/x.json",
        "../x.json",
        "../262274x/x.json",
        "../../../../../../../../../../../../../../x.json",
        "%2e%2e/x.json",
        "..%2Fx.json",
        "a/..%2f..%2fx.json",
        "s3://other/x.json",
        f"s3://other/{PREFIX}x.json",
        f"s3://Bucket/{PREFIX}x.json",
        f"s3://bucket:80/{PREFIX}x.json",
        f"s3://bucket/{PREFIX}../x.json",
        f"s3://user@bucket/{PREFIX}x.json",
        f"s3:/bucket/{PREFIX}x.json",
        "s3://bucket",
        "s3://bucket/v/dps_output/x.json",
        f"s3a://bucket/{PREFIX}x.json",
        "data:application/json,{}",
        "gs://bucket/x.json",
    ],
)
def test_what_leads_out_of_the_job_is_not_followed(href):
    assert follow_one(href) == Problem(Code.LINK_OUTSIDE_JOB, href, f"It stands in {ROOT}.")


@pytest.mark.parametrize(
    ("href", "reason"),
    [
        (None, "is missing"),
        (3, "is not a text"),
        ({}, "is not a text"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("a\0.json", "holds the character NUL"),
        ("a%00.json", "holds the character NUL"),
        ("a\ud800.json", "half a character"),
    ],
)
def test_what_is_no_href_is_told_with_its_number(href, reason):
    document = {"links": [{"rel": "self", "href": "x"}, {"rel": "child", "href": href}]}

    [found] = follow(document, ROOT, bucket="bucket", prefix=PREFIX)

    assert isinstance(found, Problem)
    assert (found.code, found.object) == (Code.CATALOG_INVALID, ROOT)
    assert "link number 2" in found.detail
    assert reason in found.detail


def test_only_child_and_item_links_count_in_their_order_and_once():
    links = [
        {"rel": "root", "href": "r.json"},
        {"rel": "self", "href": "s.json"},
        {"rel": "parent", "href": "p.json"},
        {"rel": "items", "href": "items.json"},
        {"rel": "data", "href": "d.json"},
        {"rel": "Item", "href": "I.json"},
        {"rel": ["item"], "href": "l.json"},
        {"href": "n.json"},
        "item",
        None,
        {"rel": "item", "href": "b.json"},
        {"rel": "child", "href": "a.json"},
        {"rel": "item", "href": "b.json"},
    ]

    found = follow({"links": links}, ROOT, bucket="bucket", prefix=PREFIX)

    assert found == [Target("item", "b.json", (f"{PREFIX}b.json",)), Target("child", "a.json", (f"{PREFIX}a.json",))]


@pytest.mark.parametrize("document", [{}, {"links": None}, {"links": []}])
def test_without_links_nothing_is_followed(document):
    assert follow(document, ROOT, bucket="bucket", prefix=PREFIX) == []


@pytest.mark.parametrize("links", ["x", {"item": "x.json"}, 3])
def test_links_that_are_no_array_are_a_problem(links):
    [found] = follow({"links": links}, ROOT, bucket="bucket", prefix=PREFIX)

    assert found == Problem(Code.CATALOG_INVALID, ROOT, "Its links are not an array.")


hrefs = st.lists(
    st.one_of(
        st.text(max_size=5),
        st.sampled_from(
            ["..", "/", "./", "../", "%2e", "%2E", "%2f", "%", "\\", "?", "#", ":", "s3://", "s3://bucket/", "file:"]
        ),
        st.sampled_from([PREFIX, "x.json", "http://", "//", "bucket", "\0", "%00", "%25", "u", "dps_output"]),
    ),
    max_size=12,
).map("".join)


@given(hrefs, st.sampled_from([ROOT, NESTED]))
@example("../../../../../../../../../../../../../../../../" + PREFIX + "x.json", ROOT)
def test_no_href_leads_out_of_the_job(href, key):
    found = follow_one(href, key)

    if isinstance(found, Target):
        assert found.keys
        for one in found.keys:
            assert one.startswith(PREFIX)
            assert not {".", ".."} & set(one.split("/"))
            assert "\0" not in one
        assert found.href.isprintable()
    else:
        assert found.code in {Code.LINK_OUTSIDE_JOB, Code.CATALOG_INVALID}
        assert found.object.isprintable()


segments = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda text: text not in {".", ".."}
)


@given(st.lists(segments, min_size=1))
def test_an_encoded_relative_href_leads_to_its_key(path):
    from urllib.parse import quote

    key = "/".join(path)

    assert resolve("./" + quote(key), ROOT, bucket="bucket")[0] == PREFIX + key


@given(st.text())
def test_what_is_shown_can_be_stored(text):
    assert shown(text).isprintable()
    shown(text).encode()
