"""Serves STAC Browser; run it with `uvicorn --factory maap_stac_orchestration.browser.app:create_app`.

Here belong answers: the built files with their headers, index.html for every address inside of STAC Browser, and a
plain page where it is not there yet. Not here: where the files come from (`making`).
"""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from maap_stac_orchestration.browser.configuration import Configuration
from maap_stac_orchestration.browser.files import INDEX, BuiltFile
from maap_stac_orchestration.browser.making import Making, Standing, State
from maap_stac_orchestration.settings import Settings

_CONFIG = "config.js"
_BASE = b'<base href="/">'
#: Folders of the build, in which a name that is not there is a mistake and no address of STAC Browser.
_FOLDERS = ("js/", "css/", "img/", "fonts/", "media/")
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
#: Seconds after which the page that says "not yet" looks again.
_LOOK_AGAIN = 5
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # The base map wants to know which site asks, and nobody which page.
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "geolocation=(self), camera=(), microphone=()",
}
_PLAIN = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_NO_API = (
    "STAC Browser does not know which API to show: set MAAP_STAC_PUBLIC_URL to where people reach the STAC API, then "
    "start it again."
)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>STAC Browser</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:15vh auto;padding:0 1.5rem;color:#1c2a33}}
code{{background:#eef2f5;padding:.1em .3em;border-radius:3px;overflow-wrap:anywhere}}a{{color:#188191}}
@media (prefers-color-scheme:dark){{body{{background:#12191e;color:#e3e9ed}}code{{background:#22303a}}
a{{color:#6cc5d2}}}}</style>
</head><body><main><h1>{title}</h1><p>{message}</p>{rest}</main></body></html>
"""


def create_app(settings: Settings | None = None, making: Making | None = None) -> FastAPI:
    """The application. It starts at once, and builds STAC Browser in the background where that is needed.

    Args:
        settings: what is set; without it the environment is read.
        making: where the files come from; by the settings unless it is given.

    Raises:
        SettingsError: a setting cannot be used.
    """
    settings = settings or Settings.from_environment()
    configuration = Configuration.of(settings)
    files = making or Making(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(files.start)
        try:
            yield
        finally:
            await asyncio.to_thread(files.stop)

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)

    def standing() -> Standing:
        return files.standing() if configuration else Standing(State.UNAVAILABLE, _NO_API)

    @app.get("/_mgmt/ping")
    def ping() -> dict[str, str]:
        return {"message": "PONG"}

    @app.get("/_mgmt/health")
    def health() -> JSONResponse:
        now = standing()
        body = {"status": now.state.value, "message": now.message}
        return JSONResponse(body, 200 if now.state is State.READY else 503, {"Cache-Control": "no-store"})

    @app.api_route("/{path:path}", methods=["GET", "HEAD"])
    def anything(path: str, request: Request) -> Response:
        now = standing()
        if configuration is None or now.files is None:
            return _not_there(now, settings)
        below = f"/{path}".removeprefix(configuration.prefix.rstrip("/")).lstrip("/")
        file = _file(below, now, configuration)
        if file is None:
            return Response("There is no such file.\n", 404, {**_HEADERS, "Cache-Control": "no-store"}, "text/plain")
        return _answer(file, request, configuration)

    return app


def _file(path: str, now: Standing, configuration: Configuration) -> BuiltFile | None:
    assert now.files is not None
    if path == _CONFIG:
        return BuiltFile.of(path, configuration.script())
    if path in now.files and path != INDEX:
        return now.files[path]
    if path.startswith(_FOLDERS):
        return None
    base = f'<base href="{html.escape(configuration.prefix)}">'.encode()
    return BuiltFile.of(INDEX, now.files[INDEX].content.replace(_BASE, base))


def _answer(file: BuiltFile, request: Request, configuration: Configuration) -> Response:
    headers = {
        **_HEADERS,
        "Cache-Control": _FOREVER if file.immutable else _ASK_AGAIN,
        # The same for each encoding, so it is a weak one.
        "ETag": f"W/{file.etag}",
        "Vary": "Accept-Encoding",
        "Content-Type": file.content_type,
        "Content-Security-Policy": configuration.content_security_policy(),
    }
    if file.etag in re.findall(r'"[^"]*"', request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    content, encoding = file.encoded(request.headers.get("accept-encoding", ""))
    if encoding:
        headers["Content-Encoding"] = encoding
    return Response(content, headers=headers)


def _not_there(now: Standing, settings: Settings) -> Response:
    """A page for people who came too early, or in vain."""
    building = now.state is State.BUILDING
    rest = "<p>This page looks again by itself.</p>" if building else ""
    if settings.public_url:
        address = html.escape(settings.public_url)
        rest += f'<p>The STAC API is there meanwhile: <a href="{address}">{address}</a></p>'
    page = _PAGE.format(
        refresh=f'<meta http-equiv="refresh" content="{_LOOK_AGAIN}">' if building else "",
        title="STAC Browser is being built" if building else "STAC Browser is not here",
        message=re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(now.message)),
        rest=rest,
    )
    headers = {**_HEADERS, "Cache-Control": "no-store", "Content-Security-Policy": _PLAIN}
    if building:
        headers["Retry-After"] = str(_LOOK_AGAIN)
    return HTMLResponse(page, 503, headers)
