"""How a page becomes an answer: templates, headers that keep it safe, static files under addresses of their content.

Here belongs what all pages have in common. Not here: what a page tells.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import Request
from fastapi.responses import Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from maap_stac_orchestration.settings import Settings

_PACKAGE = "maap_stac_orchestration.api.pages"

#: Where all of it is.
ROOT = "/status"

# Joiners are invisible too, but emoji and several scripts are written with them.
_HARMLESS = frozenset("\n\t\u200c\u200d")
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})


def visible(value: Any) -> Any:
    """A text with its unseen characters spelled out: some turn the direction of what follows (U+202E), and a name
    would read as another one. Everything else is given back as it is."""
    if not isinstance(value, str) or isinstance(value, Markup) or (value.isascii() and value.isprintable()):
        return value
    return "".join(
        f"⟨U+{ord(one):04X}⟩" if unicodedata.category(one) in _UNSEEN and one not in _HARMLESS else one for one in value
    )


def number(value: int) -> str:
    """With thousands set apart: 12,345."""
    return f"{value:,}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 job`, `12,345 jobs`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def moment(value: datetime, *, relative: bool = False, precise: bool = False, exact: bool = False) -> Markup:
    """A time as an element: UTC to read, RFC 3339 for programs; `relative` lets the script say how long ago it is.

    Whole seconds, or tenths of them (`precise`), or all that there is (`exact`): jobs are told apart by microseconds.
    """
    utc = value.astimezone(UTC)
    text = f"{utc:%Y-%m-%d %H:%M:%S}"
    if exact:
        text += f".{utc.microsecond:06d}"
    elif precise:
        text += f".{utc.microsecond // 100_000}"
    return Markup('<time datetime="{}"{}>{} UTC</time>').format(
        utc.isoformat().replace("+00:00", "Z"), Markup(" data-relative") if relative else "", text
    )


def duration(value: timedelta) -> str:
    """In two units at most: `less than 0.1 s`, `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    seconds = value / timedelta(seconds=1)
    if seconds < 0.1:
        return "less than 0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {next_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def below(key: str, prefix: str) -> str:
    """A key without the job's prefix, which stands at the top of the page."""
    return key.removeprefix(prefix)


#: What is served of what lies in `static/`; licences and notes of where files come from lie beside it.
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that pages need."""

    #: Its path below `static/`.
    name: str
    content: bytes
    media_type: str
    #: Of its content: a new version has a new address, so that it may be kept for ever.
    version: str

    @property
    def path(self) -> str:
        """Where it is served."""
        return f"{ROOT}/static/{self.version}/{self.name}"


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Name -> file, of all there are."""
    return {file.name: file for file in _files_in(files(_PACKAGE).joinpath("static"), "")}


def _files_in(folder: Traversable, path: str) -> Iterator[StaticFile]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files_in(entry, f"{path}{entry.name}/")
        elif media_type := _MEDIA_TYPES.get(PurePosixPath(entry.name).suffix):
            content = entry.read_bytes()
            yield StaticFile(path + entry.name, content, media_type, sha256(content).hexdigest()[:16])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # For every value that is printed, so that none is forgotten.
        finalize=visible,
    )
    environment.filters.update(below=below, number=number, plural=plural, moment=moment, duration=duration)
    return environment


def _policy(settings: Settings) -> str:
    """The Content-Security-Policy: whatever a job managed to write into a page could load and run nothing."""
    images = "'self'"
    tiled = [urlsplit(url) for url in (settings.tiler_url, settings.basemap_url) if url]
    for one in tiled:
        images += f" {one.scheme}://{one.netloc}"
    if tiled:
        # Leaflet gives tiles that it takes off the map an empty picture that is written into its address.
        images += " data:"
    return (
        f"default-src 'self'; img-src {images}; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


class Pages:
    """Makes answers of templates."""

    def __init__(self, settings: Settings) -> None:
        self._headers = {
            "Content-Security-Policy": _policy(settings),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            # Kept, but asked for again each time: what a job became may have changed, and whose token may read it.
            "Cache-Control": "private, no-cache",
        }
        self._dagster = settings.dagster_url
        self._browser = settings.browser_url
        self._basemap = {"url": settings.basemap_url, "attribution": settings.basemap_attribution}

    def answer(
        self,
        request: Request,
        template: str,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        **told: Any,
    ) -> Response:
        """The page, or 304 where the browser has it already.

        Args:
            request: what is answered.
            template: a file of `templates/`.
            status: of the response.
            headers: of the response, beside those that every page has.
            **told: what the template needs.
        """
        base = root(request)
        text = (
            _environment()
            .get_template(template)
            .render(
                base=base,
                static={name: base + file.path for name, file in static_files().items()},
                dagster_url=self._dagster,
                browser_url=self._browser,
                basemap=self._basemap,
                **told,
            )
        )
        body = text.encode("utf-8", "replace")
        return self._sent(request, body, "text/html; charset=utf-8", status, headers or {})

    def geojson(self, request: Request, document: Mapping[str, Any]) -> Response:
        """A GeoJSON document that a page's script asks for, or 304 where the browser has it already."""
        body = json.dumps(document, separators=(",", ":")).encode()
        return self._sent(request, body, "application/geo+json", HTTPStatus.OK, {})

    def _sent(
        self, request: Request, body: bytes, media_type: str, status: HTTPStatus, headers: Mapping[str, str]
    ) -> Response:
        sent = {**self._headers, **headers}
        if status is HTTPStatus.OK:
            # Weak: compression changes the bytes and not what they say.
            tag = f'W/"{sha256(body).hexdigest()[:32]}"'
            sent["ETag"] = tag
            if tag.removeprefix("W/") in _known(request):
                return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=sent)
        return Response(body, status.value, media_type=media_type, headers=sent)


def _known(request: Request) -> set[str]:
    """What the browser says it has."""
    return {tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")}


def root(request: Request) -> str:
    """The path under which a proxy serves the application, without a slash at the end."""
    path: str = request.scope.get("root_path", "")
    return path.rstrip("/")


def address(path: str, parameters: Mapping[str, object] | None = None) -> str:
    """A path with query parameters; those that are None are left out."""
    given = {name: str(value) for name, value in (parameters or {}).items() if value is not None}
    return f"{path}?{urlencode(given, quote_via=quote)}" if given else path


def job_page(base: str, prefix: str) -> str:
    """The path of a job's page."""
    return f"{base}{ROOT}/{quote(prefix, safe='')}"
