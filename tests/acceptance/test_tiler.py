"""The tiler of the stack: what was submitted a moment ago is seen, and it knows of the database what it needs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import psycopg
import pytest
import requests
from PIL import Image

from tests.acceptance.client import StackClient, eventually
from tests.acceptance.test_demo import COLLECTION, demo

pytestmark = pytest.mark.stack

COLORS = {"assets": ["red", "green", "blue"], "rescale": "0,3000"}


@pytest.fixture(scope="module")
def client(stack: dict) -> StackClient:
    return StackClient(stack)


def picture(client: StackClient, path: str) -> np.ndarray:
    answer = requests.get(client.stack["tiler_url"] + path, COLORS, timeout=120)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def test_what_was_submitted_is_seen(client):
    (job,) = demo(client, "--jobs", "1")["jobs"]
    pixels = picture(client, f"/collections/{COLLECTION}/items/{job['item']}/preview.png")
    assert (pixels[..., 3] == 255).all()
    # A landscape has many colours; a picture of nothing, or stretched wrongly, one or two.
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 100
    item = client.get(f"/collections/{COLLECTION}/items/{job['item']}")
    left, bottom, right, top = item["bbox"]
    mosaic = f"/collections/{COLLECTION}/bbox/{left},{bottom},{right},{top}.png"
    eventually(lambda: (picture(client, mosaic)[..., 3] == 255).any(), timeout=60)


def test_its_mosaic_is_where_the_collection_is(client):
    demo(client, "--jobs", "1")
    extent = eventually(
        lambda: (box := client.get(f"/collections/{COLLECTION}")["extent"]["spatial"]["bbox"][0])[0] > -180 and box,
        timeout=120,
    )
    path = f"{client.stack['tiler_url']}/collections/{COLLECTION}/WebMercatorQuad/tilejson.json"
    # What it knows of the collection may be some seconds old.
    eventually(lambda: requests.get(path, COLORS, timeout=60).json()["bounds"] == pytest.approx(extent), timeout=60)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows what processes are told")
def test_it_does_not_know_the_superuser(client, stack_commands):
    (pid,) = [part["pid"] for part in stack_commands.status()["parts"] if part["name"] == "tiler"]
    known = Path(f"/proc/{pid}/environ").read_bytes()
    assert client.env["PGPASSWORD"].encode() not in known
    assert client.env["MAAP_STAC_TILER_PGPASSWORD"].encode() in known


def test_its_role_reads_neither_the_ledger_nor_dagster(client):
    role = {"user": client.env["MAAP_STAC_TILER_PGUSER"], "password": client.env["MAAP_STAC_TILER_PGPASSWORD"]}
    with psycopg.connect(client.stack["database_url"], **role, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) >= 0 FROM items").fetchone() == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM ledger.job")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(client.env["DAGSTER_POSTGRES_URL"], **role)
