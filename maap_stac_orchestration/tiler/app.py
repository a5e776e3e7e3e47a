"""The tiler's application; run it with `uvicorn --factory maap_stac_orchestration.tiler.app:create_app`.

Here belongs putting it together: of titiler-pgstac's routes those that show what is in pgstac. Left out are those that
open any address (`/external`), that put searches of anybody's into the database or list them (`/searches`), and pages
that load scripts from elsewhere (`map.html`).
"""

from __future__ import annotations

import logging
import os
import warnings
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse

import maap_stac_orchestration
from maap_stac_orchestration import log_events
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.tiler.settings import TilerSettings

#: Paths that a tile server's clients and proxies look at.
HEALTH = "/healthz"
PING = "/_mgmt/ping"


def create_app(settings: Settings | None = None, tiler_settings: TilerSettings | None = None) -> FastAPI:
    """The application. It starts without its database and answers 503 until that is there.

    It sets GDAL's and titiler's environment variables, which they read once: one such application to a process.

    Args:
        settings: what is set; without it the environment is read.
        tiler_settings: the same, of the tiler alone.

    Raises:
        SettingsError: a setting cannot be used.
    """
    configured = settings or Settings.from_environment()
    tiler = tiler_settings or TilerSettings.from_environment()
    log_events.to_stderr()
    _set_libraries_up(tiler)

    # Only now, since both read the environment when they are imported.
    from stac_fastapi.api.middleware import ProxyHeaderMiddleware
    from starlette.middleware.cors import CORSMiddleware

    from maap_stac_orchestration.tiler import rasters
    from maap_stac_orchestration.tiler.database import connections
    from maap_stac_orchestration.tiler.limits import within_limits
    from maap_stac_orchestration.tiler.problem_documents import add_problem_documents
    from maap_stac_orchestration.tiler.responses import Caching
    from maap_stac_orchestration.web.request_id import REQUEST_ID, RequestIds
    from maap_stac_orchestration.web.request_log import RequestLog

    rasters.Raster.allowed = rasters.Allowed.of((*configured.buckets, *configured.readable_buckets), tiler.https_hosts)
    app = FastAPI(
        title="MAAP STAC tiler",
        description="Maps and pictures of collections and items, by titiler-pgstac.",
        version=maap_stac_orchestration.__version__,
        openapi_url="/api",
        docs_url="/api.html",
        redoc_url=None,
        # Where people reach it may have a path, which a proxy takes away or leaves.
        root_path=urlsplit(configured.tiler_url or "").path.rstrip("/"),
        lifespan=connections,
    )
    app.state.tiler_settings = tiler
    _add_health(app, tiler)
    app.router.dependencies.append(Depends(within_limits))
    _add_tiles(app)
    add_problem_documents(app)
    # The last one added sees a request first.
    app.add_middleware(Caching, seconds=tiler.cache_seconds)
    app.add_middleware(ProxyHeaderMiddleware)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "HEAD", "POST", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=["Content-Bbox", "Content-Crs", "Retry-After", REQUEST_ID],
        max_age=600,
    )
    app.add_middleware(RequestLog, quiet=(HEALTH, PING))
    app.add_middleware(RequestIds)
    return app


def _set_libraries_up(tiler: TilerSettings) -> None:
    from maap_stac_orchestration.store.gdal import set_gdal_up

    set_gdal_up()
    os.environ.update(
        {
            # Seconds that items, collections and what lies in a tile are remembered.
            "TITILER_PGSTAC_CACHE_TTL": str(tiler.cache_seconds),
            "TITILER_PGSTAC_CACHE_DISABLE": str(tiler.cache_seconds == 0),
            # The pool looks at a connection before it hands it out; trying again would only add up its patience.
            "TITILER_PGSTAC_API_RETRY": "0",
        }
    )
    # Threads that live as long as a request each open PROJ's database anew, which doubles the work for a tile. Bands
    # are read one after the other, items a few at a time, so that a store that is far away is waited for together.
    os.environ.setdefault("RIO_TILER_MAX_THREADS", "1")
    os.environ.setdefault("MOSAIC_CONCURRENCY", "4")
    # rasterio would make a session of boto3 for each file and each step, only to find credentials: a third of the work
    # for a tile. GDAL finds them by itself, those of an ECS task or an EC2 instance too.
    import rasterio.session

    rasterio.session.boto3 = None  # type: ignore[attr-defined, assignment]
    # Warnings as lines of JSON too. These libraries' are about each file without overviews and each edge of the world.
    logging.captureWarnings(True)
    for module in ("rio_tiler", "morecantile", "titiler", "rasterio"):
        warnings.filterwarnings("ignore", module=module)
    logging.getLogger("rio-tiler").setLevel(logging.ERROR)
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)


def _add_health(app: FastAPI, tiler: TilerSettings) -> None:
    from maap_stac_orchestration.tiler.database import ailment

    @app.get(PING, tags=["Health"], summary="Whether the process answers")
    def ping() -> dict[str, str]:
        return {"message": "PONG"}

    @app.get(HEALTH, tags=["Health"], summary="Whether the database can be read; 503 where not")
    def healthz() -> JSONResponse:
        from importlib.metadata import version

        import rasterio

        reason = ailment(tiler)
        document = {
            "status": "well" if reason is None else "ill",
            "database": reason or "answers",
            "versions": {
                "titiler.pgstac": version("titiler.pgstac"),
                "rasterio": rasterio.__version__,
                "gdal": rasterio.__gdal_version__,
            },
        }
        return JSONResponse(document, HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE)


def _add_tiles(app: FastAPI) -> None:
    from titiler.core.factory import ColorMapFactory, MultiBaseTilerFactory, TMSFactory
    from titiler.extensions.wmts import wmtsExtension
    from titiler.mosaic.extensions.wmts import wmtsExtension as wmtsExtensionMosaic
    from titiler.pgstac.dependencies import CollectionIdParams, ItemIdParams
    from titiler.pgstac.extensions import searchInfoExtension
    from titiler.pgstac.factory import MosaicTilerFactory

    from maap_stac_orchestration.tiler.limits import BoundedPart, BoundedPreview
    from maap_stac_orchestration.tiler.rasters import ItemReader, MosaicBackend, MosaicItemReader

    prefix = "/collections/{collection_id}"
    collection = MosaicTilerFactory(
        path_dependency=CollectionIdParams,
        backend=MosaicBackend,
        dataset_reader=MosaicItemReader,
        img_part_dependency=BoundedPart,
        router_prefix=prefix,
        add_statistics=True,
        add_part=True,
        add_viewer=False,
        get_renders=_renders,
        extensions=[searchInfoExtension(), wmtsExtensionMosaic()],
    )
    app.include_router(collection.router, tags=["Collections"], prefix=prefix)
    item = MultiBaseTilerFactory(
        reader=ItemReader,
        path_dependency=ItemIdParams,
        img_part_dependency=BoundedPart,
        img_preview_dependency=BoundedPreview,
        router_prefix=f"{prefix}/items/{{item_id}}",
        add_viewer=False,
        extensions=[wmtsExtension()],
    )
    app.include_router(item.router, tags=["Items"], prefix=f"{prefix}/items/{{item_id}}")
    app.include_router(TMSFactory().router, tags=["Tiling schemes"])
    app.include_router(ColorMapFactory().router, tags=["Color maps"])


def _renders(mosaic: Any) -> dict[str, Any]:
    """How a collection says that it is to be shown, as titiler's parameters."""
    from titiler.extensions.render import _adapt_render_for_v2

    renders: dict[str, Any] = mosaic.info().metadata.defaults_params or {}
    for render in renders.values():
        _adapt_render_for_v2(render)
    return renders
