"""However an address is spelled, nobody is led into a private network or another user's folder by it."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.hrefs import Place, Target, locate, web_fault
from tests.unit.catalog.items import BUCKET, KEY, PREFIX, USER, files

JOB = files("items/one.tif", "items/%2e%2e.tif", "items/at:10.tif")
PRIVATE = "its host is a private address"
INNER = "its host is a name inside a network"


def lead(href: str) -> Target:
    return locate(
        href,
        key=KEY,
        files=JOB,
        username=USER,
        readable_buckets=("open-data",),
        job_buckets=(BUCKET, "maap-old-workspace"),
    )


@pytest.mark.parametrize(
    ("host", "fault"),
    [
        # Characters that are dropped before a name is looked up
        ("127.0.0.\u00ad1", PRIVATE),
        ("127.0.0.1\ufe0f", PRIVATE),
        ("127\u200d.0.0.1", PRIVATE),
        ("local\u00adhost", INNER),
        ("metadata.google.in\u2060ternal", INNER),
        # Letters, digits and dots that are taken for plain ones
        ("②⑦", PRIVATE),
        ("①②⑦.⓪.⓪.①", PRIVATE),
        ("127｡0｡0｡1", PRIVATE),
        ("127．0．0．1", PRIVATE),
        ("ｌｏｃａｌｈｏｓｔ", INNER),
        ("bücher.localhost", INNER),
        ("%6c%6f%63alhost", INNER),
        ("127.0.0.1%2f.example.com", PRIVATE),
        # IPv4 inside IPv6, and IPv6 of nobody
        ("[::7f00:1]", PRIVATE),
        ("[::127.0.0.1]", PRIVATE),
        ("[::ffff:0:127.0.0.1]", PRIVATE),
        ("[64:ff9b::127.0.0.1]", PRIVATE),
        ("[64:ff9b:1::8.8.8.8]", PRIVATE),
        ("[2001:0:7f00:1::]", PRIVATE),
        ("[2002:a9fe:a9fe::1]", PRIVATE),
        ("[fec0::1]", PRIVATE),
        ("[5f00::1]", PRIVATE),
        ("[ff02::1]", PRIVATE),
        ("[fe80::1%eth0]", PRIVATE),
        ("[::1%25lo]", PRIVATE),
        # What is no name at all
        ("example.com%00.x.y", "its host is no name"),
        ("exa$mple.com", "its host is no name"),
        ("a..b.com", "its host is no name"),
        ("a" * 64 + ".com", "its host is no name"),
        ("\u00ad", "its host is no name"),
    ],
)
@pytest.mark.parametrize("form", ["http://{}/x", "HTTPS://{}:8443/x", "http://{}?y", "http://{}./"])
def test_a_host_is_judged_as_clients_read_it(host: str, fault: str, form: str) -> None:
    if form.endswith("./") and host.endswith("]"):
        form = "http://{}/"
    assert web_fault(form.format(host)) == fault


@pytest.mark.parametrize(
    "host",
    [
        *(
            "example.com",
            "EXAMPLE.com.",
            "a_b.example.com",
            "xn--bcher-kva.example",
            "bücher.example",
            "例え.テスト.jp",
        ),
        *("8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "0x7f.0.0.1.example.com", "127.0.0.1.example.com"),
    ],
)
def test_a_public_host_stays(host: str) -> None:
    assert lead(f"https://{host}:8443/x.tif?y#z").place is Place.WEB


@given(st.text(max_size=30) | st.text("0123456789.xX:[]%@/\\?#", max_size=30))
def test_no_host_breaks_the_judgement(host: str) -> None:
    for href in (f"http://{host}", f"http://{host}/x", f"https://{host}.example.com/"):
        fault = web_fault(href)
        assert fault is None or fault.isprintable()


@given(st.ip_addresses(v=4), st.data())
def test_an_address_is_as_private_as_it_is_in_plain_digits(address: ipaddress.IPv4Address, data: Any) -> None:
    number = int(address)
    parts = address.packed
    spelled = data.draw(
        st.sampled_from(
            [
                str(number),
                f"{number:#o}".replace("0o", "0"),
                f"{number:#x}",
                ".".join(f"{part:#x}" for part in parts),
                ".".join(f"0{part:o}" for part in parts),
                f"{parts[0]}.{number & 0xFFFFFF}",
                f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
                str(address).translate(str.maketrans("0123456789.", "０１２３４５６７８９。")),
                quote(str(address)).replace(".", "%2E"),
                f"[::ffff:{address}]",
            ]
        )
    )
    assert web_fault(f"http://{spelled}/") == web_fault(f"http://{address}/")


@pytest.mark.parametrize(
    "href",
    [
        f"https://{BUCKET}.s3.us-west-2.amazonaws.com/other/x.tif",
        f"https://{BUCKET}.s3.amazonaws.com/other/x.tif",
        f"https://{BUCKET.upper()}.S3.AMAZONAWS.COM./other/x.tif",
        f"https://{BUCKET}%2es3%2eamazonaws.com/other/x.tif",
        f"https://{BUCKET}.s3.dualstack.us-west-2.amazonaws.com/{USER}/%2e%2e/other/x.tif",
        f"https://{BUCKET}.s3-accelerate.amazonaws.com/other/x.tif?x=1",
        f"https://s3.us-west-2.amazonaws.com/{BUCKET}/other/x.tif",
        f"https://s3-us-west-2.amazonaws.com/{BUCKET}/other/x.tif",
        f"https://s3.amazonaws.com//maap-old-workspace/{USER}x/x.tif",
    ],
)
def test_another_users_object_is_closed_over_http_as_well(href: str) -> None:
    target = lead(href)
    assert target.place is Place.OUTSIDE
    assert "another user's folder" in target.reason


@pytest.mark.parametrize(
    "href",
    [
        f"https://{BUCKET}.s3.us-west-2.amazonaws.com/{USER}/x.tif",
        f"https://s3.us-west-2.amazonaws.com/{BUCKET}/shared/x.tif",
        "https://naturalearth.s3.amazonaws.com/other/x.tif",
        f"https://example.com/{BUCKET}/other/x.tif",
    ],
)
def test_ones_own_and_other_buckets_over_http_stay(href: str) -> None:
    assert lead(href) == Target(Place.WEB, href=href)


@pytest.mark.parametrize(
    "href",
    [
        "%252e%252e/" * 13 + "other/x.tif",
        "..%252f" * 13 + "other/x.tif",
        "../" * 12 + "%252e%252e/other/x.tif",
        f"s3://{BUCKET}/{USER}/%2e%2e%2fother/x.tif",
        f"s3://{BUCKET}/shared/%2E./other/x.tif",
    ],
)
def test_a_key_that_climbs_once_it_is_decoded_is_closed(href: str) -> None:
    assert lead(href).place is Place.OUTSIDE


def reached(href: str) -> set[str]:
    """The places that clients may come to by an absolute address: as it is, and decoded; `..` followed."""
    found = set()
    for one in (href, unquote(href)):
        parts = one.partition("://")[2].split("/")
        host, path = parts[0], []
        for part in parts[1:]:
            if part == "..":
                path[-1:] = []
            elif part not in ("", "."):
                path.append(part)
        found.add("/".join([host, *path]))
    return found


steps = st.sampled_from(
    ["..", ".", "", "a", "%2e%2e", "%2E.", "..%2f..", "%252e%252e", "other", USER, "shared", "x.tif"]
)


@given(st.lists(steps, max_size=24).map("/".join), st.sampled_from(["", "../" * 11, "../" * 12, "../" * 13]))
def test_no_path_comes_to_another_users_folder(path: str, climb: str) -> None:
    for href in (
        climb + path,
        f"s3://{BUCKET}/{path}",
        f"S3://maap-old-workspace/{path}",
        f"s3://{BUCKET}/{PREFIX}{climb}{path}",
    ):
        target = lead(href)
        if target.place is Place.OUTSIDE:
            continue
        assume(target.href)
        for place in reached(target.href):
            bucket, user, *_ = [*place.split("/"), ""]
            assert bucket in (BUCKET, "maap-old-workspace")
            assert user in (USER, "shared")


@given(st.text(max_size=60))
def test_whatever_is_written_leads_somewhere_or_is_told_why_not(href: str) -> None:
    target = lead(href)
    if target.place is Place.OUTSIDE:
        assert target.reason
        assert target.href == ""
    elif target.place is not Place.LOCAL:
        assert urlsplit(target.href).scheme.lower() in ("s3", "http", "https")
        assert not target.href.startswith("/vsi")
