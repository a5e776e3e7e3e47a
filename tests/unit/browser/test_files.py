"""The built files: how long they are kept, and in which encoding they are sent."""

from __future__ import annotations

import gzip
import tarfile

import brotli
import pytest

from maap_stac_orchestration.browser.files import BuiltFile, load
from maap_stac_orchestration.browser.problems import BrowserUnavailable

LONG = b"const land = 'and sea';" * 100
INDEX = b'<html><div id="stac-browser"></div></html>'


@pytest.mark.parametrize(
    ("path", "immutable"),
    [
        ("js/app.f96700ca.js", True),
        ("css/2128.6b5003a1.css", True),
        ("index.html", False),
        ("favicon.svg", False),
        ("js/app.js", False),
        ("sw.js", False),
    ],
)
def test_only_what_has_a_hash_in_its_name_is_kept_for_ever(path, immutable):
    assert BuiltFile.of(path, b"").immutable is immutable


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("js/app.f96700ca.js", "text/javascript; charset=utf-8"),
        ("css/app.f96700ca.css", "text/css; charset=utf-8"),
        ("favicon.svg", "image/svg+xml"),
        ("licenses.txt", "text/plain; charset=utf-8"),
        ("img/what.nobodyknows", "application/octet-stream"),
    ],
)
def test_types_do_not_depend_on_the_system(path, content_type):
    assert BuiltFile.of(path, b"").content_type == content_type


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.0", None),
        ("identity", None),
        ("", None),
        ("brotli", None),
    ],
)
def test_it_is_sent_in_the_best_encoding_that_the_client_takes(accepted, encoding):
    content, chosen = BuiltFile.of("js/app.js", LONG).encoded(accepted)
    assert chosen == encoding
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[chosen]
    assert unpack(content) == LONG
    assert (len(content) < len(LONG)) is (encoding is not None)


def test_what_is_compressed_already_or_short_is_sent_as_it_is():
    assert BuiltFile.of("img/a.png", LONG).encoded("br") == (LONG, None)
    assert BuiltFile.of("js/a.js", b"1;").encoded("br") == (b"1;", None)


def test_a_folder_and_its_archive_hold_the_same_files(tmp_path):
    folder = tmp_path / "stac-browser-4.0.1"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_bytes(INDEX)
    (folder / "js" / "app.js").write_bytes(LONG)
    archive = tmp_path / "any.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder, folder.name)
    assert set(load(folder)) == {"index.html", "js/app.js"}
    assert {path: file.content for path, file in load(archive).items()} == {
        path: file.content for path, file in load(folder).items()
    }


def test_a_place_without_stac_browser_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "index.html").write_text("<h1>It works!</h1>")
    (tmp_path / "broken.tar.gz").write_bytes(b"\x1f\x8b nothing")
    for place in (tmp_path, tmp_path / "broken.tar.gz", tmp_path / "absent"):
        with pytest.raises(BrowserUnavailable, match="MAAP_STAC_BROWSER_FILES") as refused:
            load(place)
        assert str(place) in str(refused.value)
