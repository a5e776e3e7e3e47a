"""GDAL's options for reading COGs from an object store, and for opening nothing else.

Here belong the options, which GDAL takes from the environment. Not here: which files are opened (`tiler.rasters`).
Nothing here imports GDAL, which reads some of them when it is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit


def gdal_configuration(environment: Mapping[str, str]) -> dict[str, str]:
    """GDAL's options for reading COGs over HTTP, as environment variables that must be set before GDAL is loaded.

    Args:
        environment: of this process. What an operator has set stays, apart from what keeps GDAL in.
    """
    chosen = {name: environment.get(name, value) for name, value in _USUAL.items()}
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if endpoint and "AWS_S3_ENDPOINT" not in environment:
        # GDAL has variables of its own for what AWS's libraries call AWS_ENDPOINT_URL.
        parts = urlsplit(endpoint)
        chosen |= {
            "AWS_S3_ENDPOINT": parts.netloc,
            "AWS_HTTPS": "YES" if parts.scheme == "https" else "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
        }
    return chosen | _KEPT_IN


#: What keeps GDAL from opening more than it was told to.
_KEPT_IN = {
    # It looks for nothing beside a file: a .ovr, .aux.xml or .msk there is whatever a job wrote.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    # Formats that name other files or addresses, gone for everything. VRT is not among them, since rasterio makes one
    # wherever it reprojects: that assets are opened as GeoTIFF only is what keeps a job's own VRT out.
    "GDAL_SKIP": "GTI,WMS,WMTS,WCS,HTTP,STACIT,STACTA,PLMOSAIC,EEDA,EEDAI,DERIVED,GNMFile,GNMDatabase,MRF,Zarr",
    "PROJ_NETWORK": "OFF",
}

_USUAL = {
    # Seconds.
    "GDAL_HTTP_TIMEOUT": "20",
    "GDAL_HTTP_CONNECTTIMEOUT": "5",
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "0.2",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    # The whole header of a usual COG in one request.
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    # Megabytes.
    "GDAL_CACHEMAX": "256",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "5000000",
    # Otherwise GDAL would take a file that was written anew for the old one, and one that was not there yet, or while
    # the store was away, for missing, as long as this process lives.
    "CPL_VSIL_CURL_NON_CACHED": "/vsis3/:/vsicurl/",
}


def set_gdal_up() -> None:
    """Sets GDAL's options in this process's environment; before rasterio is used for the first time."""
    os.environ.update(gdal_configuration(os.environ))
