"""The tiler's application; run it with `uvicorn --factory maap_stac_orchestration.tiler.app:create_app`."""

from __future__ import annotations

from fastapi import FastAPI


def create_app() -> FastAPI:
    """titiler-pgstac's application."""
    from titiler.pgstac.main import app

    return app
