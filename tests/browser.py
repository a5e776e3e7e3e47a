"""A real Chromium for tests of what people see; fixtures that test modules import.

Here belongs starting the browser and listening to what it complains of. Not here: what tests do with it. Where there is
none the tests fail with the sentence on what to run; they are not skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

_AXE = Axe()
#: Milliseconds until what is awaited must be there, on a busy machine too.
_PATIENCE = 30_000

_BAD = frozenset({"error", "warning"})

#: Starts a page: `open_page(color_scheme="dark", viewport=…)`, with what Browser.new_context takes.
OpenPage = Callable[..., Page]


# For a module: while playwright is there, an event loop runs in this thread, and asynchronous tests cannot have theirs.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser that `make test` installs: the system's, else playwright's own."""
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                # Tests run as root in containers too, and meet no page but ours.
                args=["--no-sandbox", "--disable-quic", "--no-first-run"],
            )
        except Error as error:
            pytest.fail(f"Chromium does not start; `make browser` installs it. {error.message}", pytrace=False)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Starts pages, each as a new visitor. What a page complains of on the console, a violation of its
    Content-Security-Policy among it, and every error of its script fails the test."""
    complaints: list[str] = []
    with ExitStack() as opened:

        def start(**context: Any) -> Page:
            visitor = chromium.new_context(**context)
            opened.callback(visitor.close)
            page = visitor.new_page()
            page.set_default_timeout(_PATIENCE)
            page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
            page.on("console", lambda said: said.type in _BAD and complaints.append(f"{page.url}: {said.text}"))
            return page

        yield start
    assert not complaints, "\n".join(complaints)


def violations(page: Page) -> str:
    """What axe finds wrong with a page for people with disabilities; empty where it finds nothing."""
    results = _AXE.run(page)
    return "" if results.violations_count == 0 else str(results.generate_report())
