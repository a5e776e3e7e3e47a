"""What STAC Browser is told when it runs: where API and tiler are, and what its pages may load.

Here belong values that follow from the settings. Not here: options that are the same everywhere (`source/config.js`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from maap_stac_orchestration.settings import Settings

#: The one foreign host, which a page asks only when its reader chooses that base map.
_BASE_MAP = "https://tile.openstreetmap.org"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Where things are; addresses without a slash at the end."""

    #: The STAC API.
    api: str
    #: titiler-pgstac; without it there are no pictures.
    tiler: str | None
    #: The path under which people reach STAC Browser, with a slash at both ends.
    prefix: str

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The configuration; None where it is not set where people reach the API."""
        if not settings.public_url:
            return None
        path = urlsplit(settings.browser_url or "").path.strip("/")
        return cls(
            api=settings.public_url.rstrip("/"),
            tiler=settings.tiler_url.rstrip("/") if settings.tiler_url else None,
            prefix=f"/{path}/" if path else "/",
        )

    def script(self) -> bytes:
        """config.js, which STAC Browser reads before it starts."""
        values: dict[str, object] = {
            # It must be written as the landing page writes its own address.
            "catalogUrl": f"{self.api}/",
            "pathPrefix": self.prefix,
            "tilerUrl": self.tiler,
        }
        if self.tiler is None:
            # Whether it is there decides whether images get the button "Show on map".
            values["buildTileUrlTemplate"] = None
        # Images are looked for beside the catalog unless their address is a whole one.
        image = 'new URL("favicon.svg", document.baseURI).href'
        return f"window.STAC_BROWSER_CONFIG = {{...{json.dumps(values)}, catalogImage: {image}}};\n".encode()

    def content_security_policy(self) -> str:
        """What its pages may load. Items are written by jobs, so nothing that they name is loaded from elsewhere."""
        ours = " ".join(dict.fromkeys(_origin(url) for url in (self.api, self.tiler) if url))
        return "; ".join(
            (
                "default-src 'none'",
                "script-src 'self'",
                # OpenLayers and the date picker write styles into elements.
                "style-src 'self' 'unsafe-inline'",
                f"img-src 'self' data: blob: {ours} {_BASE_MAP}",
                "font-src 'self' data:",
                f"connect-src 'self' {ours}",
                "worker-src 'self' blob:",
                "base-uri 'self'",
                "form-action 'none'",
                "frame-ancestors 'self'",
            )
        )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
