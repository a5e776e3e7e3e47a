"""stac-api-validator without a network: it runs against an API, and reads schemas from a folder.

Run as `python -m tests.integration.api.validator ROOT_URL SCHEMAS`, with the options of `validate_api` as JSON on
stdin; prints `{"warnings": [...], "errors": [...]}`. A process of its own, since it changes how requests are made.
"""

from __future__ import annotations

import io
import json
import sys
import urllib.request
import urllib.response
from email.message import Message
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter


def published(url: str, schemas: Path) -> bytes | None:
    """What stands at an address of a schema; None where the folder does not have it."""
    parts = urlsplit(url)
    path = schemas / parts.netloc / parts.path.lstrip("/")
    if path.is_file():
        return path.read_bytes()
    # pystac carries what the folder lacks: the core of STAC 1.1, and GeoJSON.
    bundled = files("pystac.validation.jsonschemas")
    if parts.netloc == "schemas.stacspec.org":
        entry = bundled.joinpath("stac-spec", parts.path.split("/")[1], Path(parts.path).name)
    else:
        entry = bundled.joinpath("geojson", Path(parts.path).name)
    return entry.read_bytes() if entry.is_file() else None


class Schemas(BaseAdapter):
    """Answers what goes to an https:// address, for requests."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:  # type: ignore[override]
        """The schema, or 404."""
        assert request.url is not None
        content = published(request.url, self._folder)
        response = requests.Response()
        response.request, response.url = request, request.url
        response.status_code = 404 if content is None else 200
        response.raw = io.BytesIO(content or b"")
        return response

    def close(self) -> None:
        """Holds nothing open."""


def offline(folder: Path) -> None:
    """From here on, https:// leads to the folder, and http:// to this machine alone."""
    adapter = Schemas(folder)
    to_this_machine = HTTPAdapter(pool_maxsize=2)

    def get_adapter(session: requests.Session, url: str) -> BaseAdapter:
        del session
        return to_this_machine if urlsplit(url).hostname == "127.0.0.1" else adapter

    requests.Session.get_adapter = get_adapter  # type: ignore[method-assign]

    class Opener(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            content = published(req.full_url, folder)
            status = 404 if content is None else 200
            response = urllib.response.addinfourl(io.BytesIO(content or b""), Message(), req.full_url, status)
            response.msg = ""  # type: ignore[attr-defined]
            return response

    urllib.request.install_opener(urllib.request.build_opener(Opener))


def main() -> None:
    """Validates, and tells what was found."""
    offline(Path(sys.argv[2]))
    from stac_api_validator import validations
    from stac_api_validator.validations import QueryConfig, validate_api

    asked = validations.retrieve

    def retrieve(*args: Any, body: Any = None, **more: Any) -> Any:
        # Of sort and query, version 0.6.8 posts `collections` as a text; STAC API 1.0 has an array of texts there.
        if body and isinstance(body.get("collections"), str):
            body = {**body, "collections": [body["collections"]]}
        return asked(*args, body=body, **more)

    validations.retrieve = retrieve
    options = json.load(sys.stdin)
    query = QueryConfig(**options.pop("query_config"))
    warnings, errors = validate_api(
        root_url=sys.argv[1],
        query_config=query,
        auth_bearer_token=None,
        auth_query_parameter=None,
        transaction_collection=None,
        headers={},
        # Assets lie in S3, behind tokens.
        open_assets_urls=False,
        **options,
    )
    json.dump({"warnings": list(map(str, warnings)), "errors": list(map(str, errors))}, sys.stdout)


if __name__ == "__main__":
    main()
