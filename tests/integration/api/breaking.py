"""The application with a route that breaks, for tests of what a server logs of that.

Run as `python -m uvicorn --factory tests.integration.api.breaking:create_app`.
"""

from __future__ import annotations

import logging

from fastapi import FastAPI

from maap_stac_orchestration.api import app


def create_app() -> FastAPI:
    """The application, with /breaks and /warns before all other routes."""
    made = app.create_app()

    async def breaks() -> None:
        raise RuntimeError("the machine\nbroke")

    def warns() -> str:
        logging.getLogger("some.library").warning("mind the %s", "gap")
        logging.getLogger("some.library").info("nobody reads this")
        return "fine"

    made.add_api_route("/breaks", breaks)
    made.add_api_route("/warns", warns)
    return made
