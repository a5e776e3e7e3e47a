"""Takes the pictures of the README from a stack with the demo: `python -m docs.making.screenshots`.

Here belong which pictures there are, what must be on a page before it is taken, and making the files small. Not here:
pictures of single steps in the other pages of the documentation, which were taken by hand.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from docs.making.stack import RunningStack, running_stack

IMAGES = Path(__file__).parents[1] / "images"
#: Pixels of the window, and of every picture.
WINDOW = {"width": 1280, "height": 800}
#: No picture is larger, in bytes.
LARGEST = 300_000
#: Colours of a picture, the first number with which it is small enough.
_COLOURS = (256, 192, 128, 96, 64)
_COLLECTION = "henrydevseed__HLSCloudFreeTemporalMosaic__v0.1.1__demo"
_MONTH = "2024-10"
#: Seconds until what is awaited must be there, on a busy machine too.
_PATIENCE = 120
#: Milliseconds that a page stands still before it is taken: layers fade in, tables settle.
_STILL = 2_000


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the README."""

    #: The file's name without its ending.
    name: str
    #: The page that it shows, by the stack.
    address: Callable[[RunningStack], str]
    #: Waits until everything is there, and brings it into view.
    arrange: Callable[[Page], None]


def _mosaic(page: Page) -> None:
    page.locator(".leaflet-tile-loaded").first.wait_for()
    page.get_by_role("button", name="Zoom in").click()
    # From the title on, so that it and the whole map are in the window.
    page.locator("h1").evaluate("one => window.scrollTo(0, one.getBoundingClientRect().top + scrollY - 16)")
    _tiles_are_there(page)


def _browser(page: Page) -> None:
    expect(page.get_by_role("heading", name="HLSCloudFreeTemporalMosaic").first).to_be_visible()
    page.locator(".ol-layer canvas").first.wait_for()
    # Those further down are loaded when somebody scrolls to them.
    page.wait_for_function(
        """() => {
            const previews = [...document.querySelectorAll('img[src*="/items/"]')].filter(
                (one) => one.getBoundingClientRect().top < innerHeight
            );
            return previews.length && previews.every((one) => one.complete && one.naturalWidth);
        }"""
    )
    page.wait_for_load_state("networkidle")


def _dagster(page: Page) -> None:
    expect(page.get_by_text("Latest check results")).to_be_visible()
    expect(page.get_by_text("status_of_this_run")).to_be_visible()


def _status(page: Page) -> None:
    expect(page.get_by_text(re.compile(r"^\d+ loaded$"))).to_be_visible()


PICTURES = (
    Picture("mosaic", lambda stack: f"{stack.url('api')}/status/collections/{_COLLECTION}?month={_MONTH}", _mosaic),
    Picture("stac-browser", lambda stack: f"{stack.url('browser')}/collections/{_COLLECTION}", _browser),
    Picture("dagster", lambda stack: f"{stack.url('dagster')}/assets/dps_catalogs", _dagster),
    Picture("status", lambda stack: f"{stack.url('api')}/status", _status),
)


def _tiles_are_there(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    expect(page.locator("img.leaflet-tile:not(.leaflet-tile-loaded)")).to_have_count(0)


def take(stack: RunningStack, pictures: tuple[Picture, ...]) -> None:
    """Takes pictures of the pages of a stack that holds the demo.

    Raises:
        playwright.sync_api.Error: a page does not show what belongs on it.
    """
    expect.set_options(timeout=_PATIENCE * 1000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for picture in pictures:
            visitor = chromium.new_context(
                viewport=WINDOW, color_scheme="light", reduced_motion="reduce", locale="en-GB", timezone_id="UTC"
            )
            page = visitor.new_page()
            page.set_default_timeout(_PATIENCE * 1000)
            page.goto(picture.address(stack))
            picture.arrange(page)
            page.wait_for_timeout(_STILL)
            written = in_few_colours(page.screenshot())
            (IMAGES / f"{picture.name}.png").write_bytes(written)
            click.echo(f"{picture.name}.png: {len(written) // 1000} kB", file=sys.stderr)
            visitor.close()
        chromium.close()


def in_few_colours(png: bytes) -> bytes:
    """The picture as a PNG with a palette, of at most `LARGEST` bytes.

    Raises:
        ValueError: it cannot be made that small.
    """
    with Image.open(io.BytesIO(png)) as whole:
        image = whole.convert("RGB")
    for colours in _COLOURS:
        written = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
        if written.tell() <= LARGEST:
            return written.getvalue()
    raise ValueError(f"Even in {_COLOURS[-1]} colours a picture has {written.tell()} bytes, more than {LARGEST}.")


def _await_upkeep(stack: RunningStack) -> None:
    """Waits until the demo's collection says how it is to be shown, which follows some seconds after its items.

    Raises:
        TimeoutError: it does not say so.
    """
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        answer = httpx.get(f"{stack.url('api')}/collections/{_COLLECTION}", timeout=30)
        if answer.is_success and answer.json().get("renders"):
            return
        time.sleep(1)
    raise TimeoutError(f"The collection {_COLLECTION} has no renders: has stac_collections run?")


@click.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The home of a stack that runs.  [default: a fresh one, removed afterwards]",
)
@click.option("--only", type=click.Choice([one.name for one in PICTURES]), multiple=True, help="Take no others.")
def main(home: Path | None, only: tuple[str, ...]) -> None:
    """Submits the demo where it is not there yet, and takes the pictures."""
    pictures = tuple(one for one in PICTURES if not only or one.name in only)
    with running_stack(home) as stack:
        stack.run("demo")
        _await_upkeep(stack)
        take(stack, pictures)


if __name__ == "__main__":
    main()
