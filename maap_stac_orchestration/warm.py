"""Imported once by the process that runs are forked from: does beforehand what every run would do first.

Here belongs what takes tenths of a second, is the same for every run, and bears being forked: compiled schemas and
clients that have not connected yet. Not here: connections. Only `stack.code_server` imports it, since importing it is
what does it.
"""

from __future__ import annotations

import logging

import obstore.auth  # noqa: F401
import pandas  # noqa: F401
import pystac.validation  # noqa: F401
import shapely  # noqa: F401
import structlog  # noqa: F401
from botocore.exceptions import BotoCoreError

from maap_stac_orchestration.catalog.schema import core_errors
from maap_stac_orchestration.definitions import defs
from maap_stac_orchestration.settings import settings

logger = logging.getLogger(__name__)


def _compile_schemas() -> None:
    for kind in ("Catalog", "Collection", "Feature"):
        core_errors({"type": kind})


def _open_clients() -> None:
    resources = defs.resources or {}
    try:
        resources["listing"]()
        resources["queue"](settings())
    except BotoCoreError as error:
        # Without a region or credentials; the run that needs them says so.
        logger.warning("AWS clients cannot be opened beforehand: %s", error)


_compile_schemas()
_open_clients()
