"""Where an href leads, and whether that is a place to point people and servers at."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maap_stac_orchestration.catalog.hrefs import Place, Target, locate, web_fault
from maap_stac_orchestration.catalog.item import JobFiles
from tests.unit.catalog.items import BUCKET, KEY, PREFIX, USER, files

JOB = files(
    "items/one.tif",
    "items/my file.tif",
    "items/100%25.tif",
    "items/boreal-2024-06-01T10:00.tif",
    "items/a?b#c.tif",
    "data/two.tif",
    "data//doubled.tif",
    "cube.zarr/.zgroup",
    "cube.zarr/band/0.0",
)


def lead(href: str, job: JobFiles = JOB) -> Target:
    return locate(
        href,
        key=KEY,
        files=job,
        username=USER,
        readable_buckets=("open-data",),
        job_buckets=(BUCKET, "maap-old-workspace"),
    )


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("one.tif", "items/one.tif"),
        ("./one.tif", "items/one.tif"),
        ("../data/two.tif", "data/two.tif"),
        (".././items/../data/two.tif", "data/two.tif"),
        ("../data//two.tif", "data/two.tif"),
        ("../data//doubled.tif", "data//doubled.tif"),
        ("my file.tif", "items/my file.tif"),
        ("my%20file.tif", "items/my file.tif"),
        ("100%25.tif", "items/100%25.tif"),
        ("a?b#c.tif", "items/a?b#c.tif"),
        ("one.tif?version=2", "items/one.tif"),
        ("one.tif#here", "items/one.tif"),
        ("boreal-2024-06-01T10:00.tif", "items/boreal-2024-06-01T10:00.tif"),
        ("../cube.zarr", "cube.zarr"),
        ("../cube.zarr/", "cube.zarr/"),
        ("absent.tif", "items/absent.tif"),
        ("absent%20file.tif", "items/absent file.tif"),
        (f"s3://{BUCKET}/{PREFIX}data/two.tif", "data/two.tif"),
        (f"S3://{BUCKET}/{PREFIX}data/two.tif", "data/two.tif"),
        (f"s3://{BUCKET}/{PREFIX}items/my%20file.tif", "items/my file.tif"),
        (f"s3://{BUCKET}/{PREFIX}items/100%25.tif", "items/100%25.tif"),
        (f"s3://{BUCKET}/{PREFIX}items/../data/two.tif", "data/two.tif"),
        (f"s3://{BUCKET}/{PREFIX}absent.tif", "absent.tif"),
    ],
)
def test_an_href_to_a_file_of_the_job(href: str, name: str) -> None:
    target = lead(href)
    assert target.place is Place.JOB
    assert target.key == PREFIX + name
    assert target.href == f"s3://{BUCKET}/{PREFIX}{name}"


@pytest.mark.parametrize(
    ("href", "absolute"),
    [
        (f"s3://{BUCKET}/{USER}/elsewhere/x.tif", f"s3://{BUCKET}/{USER}/elsewhere/x.tif"),
        (f"s3://{BUCKET}/shared/x.tif", f"s3://{BUCKET}/shared/x.tif"),
        (f"s3://maap-old-workspace/{USER}/x.tif", f"s3://maap-old-workspace/{USER}/x.tif"),
        ("s3://open-data/anyone/x.tif", "s3://open-data/anyone/x.tif"),
        ("../../../../../../../../../../../../elsewhere/x.tif", f"s3://{BUCKET}/{USER}/elsewhere/x.tif"),
    ],
)
def test_an_href_to_an_object_elsewhere_that_the_submitter_may_read(href: str, absolute: str) -> None:
    target = lead(href)
    assert target.place is Place.OBJECT
    assert target.href == absolute


@pytest.mark.parametrize(
    "href",
    [
        "https://example.com/x.tif",
        "HTTP://example.com:8080/x.tif?y=1#z",
        "https://bucket.s3.us-west-2.amazonaws.com/a b.tif",
        "https://8.8.8.8/x",
        "https://[2001:4860:4860::8888]/x",
        "https://xn--bcher-kva.example/x",
        "https://münchen.example/x",
    ],
)
def test_a_public_address_stays_as_it_is(href: str) -> None:
    assert lead(href) == Target(Place.WEB, href=href)


@pytest.mark.parametrize(
    "href", ["/tmp/output/x.tif", "/x.tif", "~/x.tif", r"C:\data\x.tif", "C:/data/x.tif", r"\\server\share\x.tif"]
)
def test_a_path_of_a_machine(href: str) -> None:
    assert lead(href).place is Place.LOCAL


OUTSIDE = {
    # Other people's objects
    f"s3://{BUCKET}/other/x.tif": "another user's folder",
    f"s3://{BUCKET}/{USER}x/x.tif": "another user's folder",
    f"s3://{BUCKET}/x.tif": "another user's folder",
    "s3://maap-old-workspace/other/x.tif": "another user's folder",
    f"s3://{BUCKET}/{PREFIX}../../../../../../../../../../../../other/x.tif": "another user's folder",
    f"s3://{BUCKET}/{USER}/%2e%2e/other/x.tif": "another user's folder",
    f"s3://{BUCKET}/shared/../other/x.tif": "another user's folder",
    f"s3://{BUCKET}/{USER}/../../x.tif": "out of the bucket",
    "../../../../../../../../../../../../../other/x.tif": "out of the submitter's own folder",
    "%2e%2e/" * 13 + "other/x.tif": "out of the submitter's own folder",
    "../" * 40 + "x": "out of the submitter's own folder",
    # Other buckets
    "s3://private/x.tif": "not open to submitters",
    "s3://open-data.evil/x.tif": "not open to submitters",
    "s3://open-data": "no object of a bucket",
    "s3://open-data/": "no object of a bucket",
    "s3:///x.tif": "no object of a bucket",
    "s3://user:password@open-data/x.tif": "no object of a bucket",
    "gs://open-data/x.tif": "gs: are not served",
    # What only a server's own machine has
    "file:///etc/passwd": "file: are not served",
    "FILE:/etc/passwd": "file: are not served",
    "/vsicurl/http://169.254.169.254/latest": "virtual file systems",
    "/vsis3/private/x.tif": "virtual file systems",
    "/vsizip/vsicurl/x": "virtual file systems",
    "data:image/tiff;base64,AAAA": "data: are not served",
    "javascript:alert(1)": "javascript: are not served",
    'NETCDF:"/etc/x.nc":band': "netcdf: are not served",
    "//169.254.169.254/x": "names a host without saying how to reach it",
    "": "it is empty",
    "  ": "it is empty",
    # Hosts inside a network
    "http://localhost/x": "inside a network",
    "http://LOCALHOST./x": "inside a network",
    "http://a.localhost/x": "inside a network",
    "http://minio:9000/x": "inside a network",
    "http://metadata.google.internal/x": "inside a network",
    "http://instance-data/latest": "inside a network",
    "http://pgstac.default.svc.cluster.local/x": "inside a network",
    "http://printer.home.arpa/x": "inside a network",
    # Private addresses, in every spelling that clients take
    "http://127.0.0.1/x": "private address",
    "http://127.1/x": "private address",
    "http://2130706433/x": "private address",
    "http://0x7f000001/x": "private address",
    "http://0x7f.1/x": "private address",
    "http://0177.0.0.1/x": "private address",
    "http://0/x": "private address",
    "http://0.0.0.0/x": "private address",
    "http://10.1.2.3/x": "private address",
    "http://172.16.0.1/x": "private address",
    "http://192.168.1.1/x": "private address",
    "http://100.64.0.1/x": "private address",
    "http://169.254.169.254/latest/meta-data": "private address",
    "http://169.254.169.254./x": "private address",
    "http://224.0.0.1/x": "private address",
    "http://[::1]/x": "private address",
    "http://[::]/x": "private address",
    "http://[fe80::1%25eth0]/x": "private address",
    "http://[fd00:ec2::254]/x": "private address",
    "http://[::ffff:169.254.169.254]/x": "private address",
    "http://[::ffff:7f00:1]/x": "private address",
    "http://[64:ff9b::a9fe:a9fe]/x": "private address",
    "http://[2002:7f00:1::]/x": "private address",
    "http://１２７.０.０.１/x": "private address",
    "http://127。0。0。1/x": "private address",
    "http://127%2e0%2e0%2e1/x": "private address",
    "http://127.0.0.0x100000001/x": "no address",
    "http://1.2.3.4.5/x": "no address",
    # Addresses in disguise
    "http://user:password@example.com/x": "name to log in with",
    "http://user@example.com/x": "name to log in with",
    "http://example.com@127.0.0.1/x": "name to log in with",
    "http://127.0.0.1\\.example.com/x": "spaces, backslashes or control characters",
    "http://exa\tmple.com/x": "spaces, backslashes or control characters",
    "http://127.0.0.1\n.example.com/x": "spaces, backslashes or control characters",
    "http:/127.0.0.1/x": "names no host",
    "http:127.0.0.1/x": "names no host",
    "http:///x": "names no host",
    "https://": "names no host",
    "http://[::1/x": "not an address",
    "http://example.com:port/x": "not an address",
}


@pytest.mark.parametrize("href", OUTSIDE)
def test_an_href_that_nobody_should_be_led_to(href: str) -> None:
    target = lead(href)
    assert target.place is Place.OUTSIDE
    assert target.href == ""
    assert OUTSIDE[href] in target.reason


@given(st.ip_addresses().filter(lambda address: address.is_private or address.is_loopback or address.is_link_local))
def test_no_private_address_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    assert web_fault(f"http://{host}/x") is not None
    if address.version == 4:
        assert web_fault(f"http://{int(address)}/x") is not None
        assert web_fault(f"http://{int(address):#x}/x") is not None
        assert web_fault(f"http://[::ffff:{address}]/x") is not None


pieces = st.sampled_from(["..", ".", "", "a", "%2e%2e", "%2F", "other", USER, "shared", "s3:", "b.tif", "\0", "?", "#"])


@given(st.lists(pieces, max_size=20).map("/".join) | st.text(max_size=40))
def test_an_object_that_is_led_to_is_always_one_that_the_submitter_may_read(href: str) -> None:
    for written in (href, f"s3://{BUCKET}/{href}", f"s3://{BUCKET}/{PREFIX}{href}"):
        target = lead(written)
        if target.place in (Place.JOB, Place.OBJECT):
            key = target.href.removeprefix(f"s3://{BUCKET}/")
            assert key.startswith((f"{USER}/", "shared/"))
            assert ".." not in key.split("/")
            assert "\0" not in key
        if target.place is Place.JOB:
            assert target.key.startswith(PREFIX)


plain = st.lists(
    st.sampled_from(["..", ".", "a", "one.tif", "items", "data", "other", "shared"]), min_size=1, max_size=9
)


@given(plain.map("/".join))
def test_an_href_with_one_reading_leads_where_its_encoded_spelling_leads(href: str) -> None:
    encoded = "".join(one if one in "./" else f"%{ord(one):02x}" for one in href)
    assert lead(href) == lead(encoded)
