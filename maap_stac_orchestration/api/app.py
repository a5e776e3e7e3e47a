"""The one FastAPI application: STAC API at `/`, jobs under `/jobs`, health and metrics under `/_mgmt`.

Here belongs putting it together; run it with `uvicorn --factory maap_stac_orchestration.api.app:create_app`. Not here:
the routes themselves.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from brotli_asgi import BrotliMiddleware
from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware

import maap_stac_orchestration
from maap_stac_orchestration import log_events
from maap_stac_orchestration.api import stac
from maap_stac_orchestration.api.authentication import BEARER, Authentication, TokenCheck, username_of
from maap_stac_orchestration.api.body_size import BodySize
from maap_stac_orchestration.api.caching import Encodings, Revalidation
from maap_stac_orchestration.api.database import connections
from maap_stac_orchestration.api.decisions import decisions_router
from maap_stac_orchestration.api.grants import grants_router
from maap_stac_orchestration.api.health import health_router
from maap_stac_orchestration.api.jobs import jobs_router
from maap_stac_orchestration.api.metrics import RequestMetrics, metrics_router
from maap_stac_orchestration.api.openapi import describe_errors
from maap_stac_orchestration.api.pages.routes import add_pages, static_paths
from maap_stac_orchestration.api.problem_documents import add_problem_documents
from maap_stac_orchestration.api.public_address import PublicAddress
from maap_stac_orchestration.api.retry import retry_router
from maap_stac_orchestration.api.webhooks import webhooks_router
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import ObjectStore
from maap_stac_orchestration.web.request_id import REQUEST_ID, RequestIds
from maap_stac_orchestration.web.request_log import RequestLog


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. It starts without its database and answers 503 until that is there.

    Args:
        settings: what is set; without it the environment is read.

    Raises:
        SettingsError: a setting cannot be used.
    """
    configured = settings or Settings.from_environment()
    log_events.to_stderr()
    stac_settings = stac.stac_settings()
    app = FastAPI(
        title=stac.TITLE,
        description=stac.DESCRIPTION,
        version=maap_stac_orchestration.__version__,
        openapi_url=stac_settings.openapi_url,
        docs_url=stac_settings.docs_url,
        redoc_url=None,
        lifespan=connections,
    )

    @lru_cache(maxsize=1)
    def store() -> ObjectStore:
        # Opened when first asked for: reading credentials can take seconds.
        from maap_stac_orchestration.store.s3 import S3Objects

        return S3Objects.from_environment()

    authentication = Authentication(configured)
    app.state.authentication = authentication
    app.include_router(health_router(configured, store))
    requests = RequestMetrics()
    app.include_router(metrics_router(configured, requests))
    if not configured.open_reading:
        # Shows in OpenAPI that the routes added from here on need a token; `TokenCheck` is who asks for it.
        app.router.dependencies.append(Depends(BEARER))
    app.include_router(jobs_router(configured))
    app.include_router(retry_router(configured, authentication))
    app.include_router(decisions_router(configured, authentication))
    app.include_router(grants_router(configured, authentication))
    app.include_router(webhooks_router(configured, authentication))
    add_pages(app, configured)
    stac.add_stac_api(app, stac_settings, configured, authentication)
    add_problem_documents(app)
    describe_errors(app)
    documents = {app.openapi_url, app.docs_url, app.swagger_ui_oauth2_redirect_url}
    # What is for machines that watch tells no names, and must not depend on an issuer.
    exempt = frozenset(
        {"/_mgmt/ping", "/_mgmt/health", "/_mgmt/metrics"} | {path for path in documents if path} | static_paths()
    )
    # The last one added sees a request first.
    app.add_middleware(BodySize)
    app.add_middleware(TokenCheck, authentication=authentication, exempt=exempt)
    app.add_middleware(Revalidation, private=not configured.open_reading, unkept=("/_mgmt/",))
    app.add_middleware(BrotliMiddleware, minimum_size=1000)  # with gzip for clients that know no brotli
    app.add_middleware(Encodings)
    app.add_middleware(
        PublicAddress,
        root_path=configured.root_path or urlsplit(configured.public_url or "").path,
        public_url=configured.public_url,
    )
    app.add_middleware(
        CORSMiddleware,
        allow_origins=stac_settings.cors_origins,
        allow_origin_regex=stac_settings.cors_origin_regex,
        # The defaults of stac-fastapi are for reading.
        allow_methods=sorted({*stac_settings.cors_methods, "PUT", "PATCH", "DELETE"}),
        allow_credentials=stac_settings.cors_credentials,
        allow_headers=sorted({*stac_settings.cors_headers, "Authorization", "If-Match", "If-None-Match", REQUEST_ID}),
        expose_headers=["ETag", "Link", "Location", "Retry-After", "WWW-Authenticate", REQUEST_ID],
        max_age=600,
    )
    app.add_middleware(RequestLog, quiet=("/_mgmt/",), username=username_of, observe=requests.observe)
    app.add_middleware(RequestIds)
    return app
