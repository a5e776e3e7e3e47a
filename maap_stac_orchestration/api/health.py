"""Whether the application lives (`/_mgmt/ping`) and whether each part that it needs is ready (`/_mgmt/health`).

Here belong those two routes. Not here: mending anything (`maap-stac doctor` tells how).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from maap_stac_orchestration.api.database import ledger_connection
from maap_stac_orchestration.api.models import HealthModel
from maap_stac_orchestration.ledger import migrate
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import ObjectStore, StoreUnavailable

#: Seconds that each part may take to answer.
_PATIENCE = 4.0
#: A prefix that no job has: listing it asks for the right to list and moves no data.
_NOWHERE = "_health/"

Part = dict[str, Any]


def health_router(settings: Settings, store: Callable[[], ObjectStore]) -> APIRouter:
    """The routes; `store` is asked when a request comes."""
    router = APIRouter(prefix="/_mgmt", tags=["Liveliness/Readiness"])

    @router.get("/ping", summary="Whether the application lives")
    async def ping() -> dict[str, str]:
        """Answers as long as the application runs, whatever else does not."""
        return {"message": "PONG"}

    @router.get(
        "/health",
        response_model=None,
        responses={
            200: {"model": HealthModel, "description": "Every part is ready"},
            503: {"model": HealthModel, "description": "A part is not ready"},
        },
        summary="Whether each part is ready",
    )
    async def health(request: Request) -> JSONResponse:
        """The readiness of the database, pgstac, the ledger and the object store, each with a sentence."""
        buckets = settings.buckets
        pgstac, ledger, objects = await asyncio.gather(
            _patiently(_pgstac(request)), _patiently(_ledger(request)), _patiently(_object_store(store, buckets))
        )
        parts = {"database": _database(pgstac, ledger), "pgstac": pgstac, "ledger": ledger, "object_store": objects}
        ready = all(part["status"] == "UP" for part in parts.values())
        return JSONResponse({"status": "UP" if ready else "DOWN", **parts}, 200 if ready else 503)

    return router


async def _patiently(check: Any) -> Part:
    try:
        async with asyncio.timeout(_PATIENCE):
            part: Part = await check
            return part
    except TimeoutError:
        return _down(f"There was no answer within {_PATIENCE:.0f} s.")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is why the part is down
        return _down(f"{str(error).strip().rstrip('.') or type(error).__name__}.")


async def _pgstac(request: Request) -> Part:
    async with request.app.state.readpool.acquire() as connection:
        try:
            version = await connection.fetchval("SELECT pgstac.get_version()")
        except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError):
            return _down("The database has no pgstac; run `maap-stac migrate`.", reached=True)
    return _up(f"pgstac {version} answers.", pgstac_version=version)


async def _ledger(request: Request) -> Part:
    def revision() -> str | None:
        with ledger_connection(request) as connection:
            return migrate.current(connection)

    found, needed = await asyncio.to_thread(revision), migrate.head()
    if found is None:
        return _down("The database has no ledger; run `maap-stac migrate`.", reached=True)
    if found < needed:
        return _down(
            f"The ledger is at revision {found} and {needed} is needed; run `maap-stac migrate`.", reached=True
        )
    return _up(f"The ledger is at revision {found}.", revision=found)


async def _object_store(store: Callable[[], ObjectStore], buckets: tuple[str, ...]) -> Part:
    if not buckets:
        return _down("No bucket is configured; set MAAP_STAC_BUCKETS.")
    try:
        for bucket in buckets:
            await store().list(bucket, _NOWHERE)
    except StoreUnavailable as error:
        return _down(str(error))
    return _up(f"{', '.join(buckets)} can be listed.")


def _database(*parts: Part) -> Part:
    """The database answers when any part in it was reached, in whatever shape."""
    for part in parts:
        if part["status"] == "UP" or part.pop("reached", False):
            return _up("The database answers.")
    return _down(parts[0]["message"])


def _up(message: str, **more: Any) -> Part:
    return {"status": "UP", "message": message, **more}


def _down(message: str, **more: Any) -> Part:
    return {"status": "DOWN", "message": message, **more}
