"""Serves STAC Browser; run it with `uvicorn --factory maap_stac_orchestration.browser.app:create_app`."""

from __future__ import annotations

from fastapi import FastAPI


def create_app() -> FastAPI:
    """The application."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/_mgmt/ping")
    def ping() -> dict[str, str]:
        return {"message": "PONG"}

    return app
