"""The one FastAPI application: STAC API at `/`, jobs under `/jobs`, health under `/_mgmt`.

Here belongs putting it together; run it with `uvicorn --factory maap_stac_orchestration.api.app:create_app`. Not here:
the routes themselves.
"""

from __future__ import annotations

from functools import lru_cache

from brotli_asgi import BrotliMiddleware
from fastapi import FastAPI
from stac_fastapi.api.middleware import ProxyHeaderMiddleware
from starlette.middleware.cors import CORSMiddleware

import maap_stac_orchestration
from maap_stac_orchestration.api import stac
from maap_stac_orchestration.api.database import connections
from maap_stac_orchestration.api.health import health_router
from maap_stac_orchestration.api.jobs import jobs_router
from maap_stac_orchestration.api.problem_documents import add_problem_documents
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import ObjectStore


def create_app(settings: Settings | None = None, *, root_path: str = "") -> FastAPI:
    """The application. It starts without its database and answers 503 until that is there.

    Args:
        settings: what is set; without it the environment is read.
        root_path: the path under which a proxy serves the application.

    Raises:
        SettingsError: a setting cannot be used.
    """
    configured = settings or Settings.from_environment()
    stac_settings = stac.stac_settings(root_path)
    app = FastAPI(
        title=stac.TITLE,
        description=stac.DESCRIPTION,
        version=maap_stac_orchestration.__version__,
        openapi_url=stac_settings.openapi_url,
        docs_url=stac_settings.docs_url,
        redoc_url=None,
        root_path=root_path,
        lifespan=connections,
    )

    @lru_cache(maxsize=1)
    def store() -> ObjectStore:
        # Opened when first asked for: reading credentials can take seconds.
        from maap_stac_orchestration.store.s3 import S3Objects

        return S3Objects.from_environment()

    app.include_router(jobs_router(configured))
    app.include_router(health_router(configured, store))
    stac.add_stac_api(app, stac_settings, configured)
    add_problem_documents(app)
    # The last one added sees a request first.
    app.add_middleware(BrotliMiddleware, minimum_size=1000)  # with gzip for clients that know no brotli
    app.add_middleware(ProxyHeaderMiddleware)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=stac_settings.cors_origins,
        allow_origin_regex=stac_settings.cors_origin_regex,
        allow_methods=stac_settings.cors_methods,
        allow_credentials=stac_settings.cors_credentials,
        allow_headers=stac_settings.cors_headers,
        max_age=600,
    )
    return app
