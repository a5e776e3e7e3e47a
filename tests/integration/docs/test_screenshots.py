"""The pictures of the README as they are committed, and how they are made small."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from docs.making.screenshots import IMAGES, LARGEST, PICTURES, WINDOW, in_few_colours


@pytest.mark.parametrize("name", [picture.name for picture in PICTURES])
def test_every_picture_is_there_small_and_of_the_window(name):
    file = IMAGES / f"{name}.png"
    assert file.stat().st_size <= LARGEST
    with Image.open(file) as image:
        assert image.size == (WINDOW["width"], WINDOW["height"])
        # Something is on it besides a page that has not come.
        assert len(image.convert("RGB").getcolors(image.width * image.height)) > 40


def png(pixels: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def test_a_picture_of_a_page_is_as_it_was():
    page = np.full((80, 120, 3), 255, np.uint8)
    page[10:30, 10:60] = (42, 120, 142)
    assert (np.asarray(Image.open(io.BytesIO(in_few_colours(png(page)))).convert("RGB")) == page).all()


def test_a_picture_that_cannot_be_made_small_enough_is_no_picture():
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1200, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"Even in 64 colours a picture has \d+ bytes, more than 300000"):
        in_few_colours(png(noise))
