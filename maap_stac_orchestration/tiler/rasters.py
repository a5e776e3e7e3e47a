"""Opening assets, with care: an item's hrefs and files are what a researcher's job wrote.

Here belongs which addresses are opened, as what, and what their failures mean. Not here: which assets an item may have
at all, which is decided when it is ingested (`catalog.assets`): this is a second fence, since GDAL opens anything that
it is given, and what it is given may name other files and addresses.

Four things keep it in: only `s3://` in the buckets that are set and `https://` on hosts that are set; only as GeoTIFF,
whatever the file is (a VRT is a list of other files); nothing beside the file (`store.gdal`), nor what its
metadata name as overviews; and no tile within it larger than what fits into memory.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, ParamSpec, TypeVar
from urllib.parse import urlsplit

import attr
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rio_tiler.constants import WGS84_CRS
from rio_tiler.errors import InvalidAssetName
from rio_tiler.io import Reader
from rio_tiler.types import BBox
from titiler.pgstac.backend import PGSTACBackend
from titiler.pgstac.reader import PgSTACReader, SimpleSTACReader

from maap_stac_orchestration.tiler.errors import (
    AssetMissing,
    AssetNotInItem,
    AssetRefused,
    AssetTrouble,
    AssetUnreadable,
    BadParameter,
    LeftOut,
    StoreUnavailable,
)

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_ENDINGS = (".tif", ".tiff")
#: Bytes of one tile or strip of a file; one of a usual COG has half a megabyte.
_LARGEST_BLOCK = 64 * 2**20
#: Why an asset's own metadata cannot be used.
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where assets may lie."""

    buckets: frozenset[str]
    https_hosts: frozenset[str]

    @classmethod
    def of(cls, buckets: Collection[str], https_hosts: Collection[str]) -> Allowed:
        """From settings."""
        return cls(frozenset(buckets), frozenset(host.lower() for host in https_hosts))

    def check(self, href: str) -> None:
        """Whether an address may be opened.

        Raises:
            AssetRefused: it may not; says why.
        """
        try:
            parts = urlsplit(href)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise AssetRefused(f"The asset's address {_shown(href)} is none.") from None
        if not parts.path.lower().endswith(_ENDINGS):
            raise AssetRefused(f"The tiler shows GeoTIFF files (.tif), and the asset lies at {_shown(href)}.")
        plain = not parts.query and not parts.fragment and "@" not in parts.netloc
        if parts.scheme == "s3" and plain:
            if parts.netloc not in self.buckets:
                raise AssetRefused(
                    f"The asset lies in the bucket {_shown(parts.netloc)}, which the tiler does not read from."
                )
        elif parts.scheme == "https" and plain:
            if (host or "") not in self.https_hosts or port not in (None, 443):
                raise AssetRefused(f"The asset lies on {_shown(parts.netloc)}, which the tiler does not read from.")
        else:
            raise AssetRefused(f"The tiler does not open {_shown(href)}: it reads s3:// and, on some hosts, https://.")
        if "/../" in parts.path or "/./" in parts.path:
            raise AssetRefused(f"The asset's address {_shown(href)} leads back.")


def _shown(href: str) -> str:
    return href if len(href) <= 200 else href[:200] + "…"


def _told(error: BaseException, href: str) -> Exception:
    """What a failure of GDAL means."""
    if isinstance(error, AssetTrouble | StoreUnavailable):
        return error
    said = ""
    cause: BaseException | None = error
    while cause is not None:
        said += f" {cause}"
        cause = cause.__cause__ or cause.__context__
    if any(sign in said for sign in _ABSENT):
        return AssetMissing(f"There is no file at {_shown(href)}.")
    if any(sign in said for sign in _FORMAT):
        return AssetUnreadable(f"What lies at {_shown(href)} is not a GeoTIFF file.")
    if any(sign in said for sign in _AWAY):
        log.warning("the store does not hand out %s:%s", _shown(href), said[:300])
        return StoreUnavailable("The store of the files does not answer, or refuses the tiler; try again in a moment.")
    log.warning("%s cannot be read:%s", _shown(href), said[:300])
    return AssetUnreadable(f"The file at {_shown(href)} cannot be read: it is broken.")


#: Parts of what GDAL says (3.10); tests hold them against real failures.
_ABSENT = ("does not exist", "NoSuchKey", "HTTP response code: 404", "response_code=404", "No such file")
_FORMAT = ("not recognized as being in a supported file format",)
_AWAY = (
    "HTTP response code",
    "response_code",
    "AccessDenied",
    "Access Denied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidCredentials",
    "CURL error",
    "Could not connect",
    "Connection refused",
    "timed out",
    "Timeout",
)


def _explained(method: Callable[P, T]) -> Callable[P, T]:
    """A method of a reader whose failures are told as what they mean."""

    @functools.wraps(method)
    def explained(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except (RasterioError, AssetTrouble, StoreUnavailable) as error:
            reader: Any = args[0]
            raise reader.trouble(_told(error, reader.input)) from error
        except IndexError as error:
            raise BadParameter(f"The file has no such band: {error}.") from error
        except CPLE_BaseError as error:
            # One that rasterio did not make an error of its own of; seen for boxes without an area.
            raise BadParameter(f"It cannot be drawn, for its place or size ({error}): ask for another area.") from error

    return explained


@attr.s
class Raster(Reader):
    """One file of an item, opened with care."""

    #: Set when the application is made (`app.create_app`); by default nothing may be read.
    allowed: ClassVar[Allowed] = Allowed(frozenset(), frozenset())

    def __attrs_post_init__(self) -> None:
        """Opens it.

        Raises:
            AssetTrouble, StoreUnavailable: it cannot be shown.
        """
        self._open()

    def trouble(self, error: Exception) -> Exception:
        """What to raise where it cannot be shown."""
        return error

    def _open(self) -> None:
        href = str(self.input)
        try:
            self.allowed.check(href)
            opened = self._ctx_stack.enter_context(rasterio.open(_gdal_path(href), driver="GTiff"))
            _inspect(opened, _shown(href))
            self.dataset = opened
            super().__attrs_post_init__()  # type: ignore[no-untyped-call]
        except (RasterioError, AssetTrouble) as error:
            self._ctx_stack.close()
            raise self.trouble(_told(error, href)) from error

    def tile_exists(self, tile_x: int, tile_y: int, tile_z: int) -> bool:
        """Whether a tile shows any of it: yes, since its item was asked before (`ItemReader`, `MosaicItemReader`).

        Asking again would be a fifth of the work for a tile, each time.
        """
        return True

    tile = _explained(Reader.tile)
    part = _explained(Reader.part)
    preview = _explained(Reader.preview)
    point = _explained(Reader.point)
    feature = _explained(Reader.feature)
    info = _explained(Reader.info)  # type: ignore[arg-type]
    statistics = _explained(Reader.statistics)


def _gdal_path(href: str) -> str:
    """An address as GDAL has it, which then signs in to the store by itself."""
    return f"/vsis3/{href.removeprefix('s3://')}" if href.startswith("s3://") else f"/vsicurl/{href}"


def _inspect(file: DatasetReader, place: str) -> None:
    """Looks at an open file before anything of it is read.

    Raises:
        AssetTrouble: it cannot be shown.
    """
    if file.tags(ns="OVERVIEWS"):
        raise AssetRefused(f"The file at {place} names other files as its overviews.")
    for (height, width), dtype in zip(file.block_shapes, file.dtypes, strict=True):
        if height * width * _bytes_of(dtype) > _LARGEST_BLOCK:
            raise AssetRefused(
                f"The file at {place} has tiles of {width} by {height} pixels, which are too large to show: write it as"
                " a Cloud-Optimised GeoTIFF."
            )
    if file.crs is None and not file.gcps[0]:
        raise AssetUnreadable(f"The file at {place} does not say where on Earth it is.")


def _bytes_of(dtype: str) -> int:
    import numpy

    return int(numpy.dtype(dtype).itemsize) if not dtype.startswith("complex_int") else 4


class MosaicRaster(Raster):
    """One file of a mosaic, which does without it where it cannot be shown: one bad item is no hole in all others."""

    def trouble(self, error: Exception) -> Exception:
        """An error of the kind that mosaics step over, unless the store is away and all files are alike."""
        if isinstance(error, AssetTrouble):
            log.warning("a mosaic is shown without a file: %s", error)
            return LeftOut(str(error))
        return error


@attr.s
class ItemReader(PgSTACReader):
    """An item by itself: what is wrong with a file of it is told."""

    reader: type[Reader] = attr.ib(default=Raster)

    def __attrs_post_init__(self) -> None:
        """Reads what the item says of its projection.

        Raises:
            AssetUnreadable: it cannot be understood.
        """
        try:
            super().__attrs_post_init__()  # type: ignore[no-untyped-call]
        except (*_MALFORMED, RasterioError) as error:
            raise AssetUnreadable(f"What the item {self.input.id} says of its projection cannot be used.") from error

    def _get_asset_info(self, asset: Any) -> Any:
        return _asset_info(super()._get_asset_info, asset)


@attr.s
class MosaicItemReader(SimpleSTACReader):
    """An item of a mosaic, which does without what cannot be shown."""

    reader: type[Reader] = attr.ib(default=MosaicRaster)

    def _get_asset_info(self, asset: Any) -> Any:
        try:
            return _asset_info(super()._get_asset_info, asset)
        except InvalidAssetName as error:
            raise AssetNotInItem(str(error)) from error
        except AssetTrouble as error:
            log.warning("a mosaic is shown without the item %s: %s", self.input["id"], error)
            raise LeftOut(str(error)) from error


def _asset_info(find: Callable[[Any], Any], asset: Any) -> Any:
    try:
        info = find(asset)
    except ValueError as error:  # about what the client asked for
        raise InvalidAssetName(str(error)) from error
    except _MALFORMED as error:
        raise AssetUnreadable(f"What the item says of the asset {asset} cannot be used.") from error
    # How much of a file to read at once is nothing for an item to choose.
    info.pop("env", None)
    return info


@attr.s
class MosaicBackend(PGSTACBackend):
    """Collections as mosaics, where a name that none of the items knows is told."""

    # Their parameters are those of titiler's own, which differ from the base class's and from one version to the next.
    def tile(self, x: int, y: int, z: int, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """As titiler has it."""
        _check_names(kwargs, self.assets_for_tile(x, y, z, **(kwargs.get("search_options") or {})))
        return super().tile(x, y, z, *args, **kwargs)

    def part(self, bbox: BBox, *args: Any, **kwargs: Any) -> Any:
        """As titiler has it."""
        left, bottom, right, top = bbox
        found = self.assets_for_bbox(
            left,
            bottom,
            right,
            top,
            coord_crs=kwargs.get("bounds_crs", WGS84_CRS),
            **(kwargs.get("search_options") or {}),
        )
        _check_names(kwargs, found)
        return super().part(bbox, *args, **kwargs)

    def point(self, lon: float, lat: float, *args: Any, **kwargs: Any) -> Any:
        """As titiler has it."""
        found = self.assets_for_point(
            lon, lat, coord_crs=kwargs.get("coord_crs", WGS84_CRS), **(kwargs.get("search_options") or {})
        )
        _check_names(kwargs, found)
        return super().point(lon, lat, *args, **kwargs)


def _check_names(layer: dict[str, Any], items: list[Any]) -> None:
    """Raises InvalidAssetName for an asset that none of the items has."""
    there = {name for item in items for name in item.get("assets", {})}
    for asset in layer.get("assets") or ():
        name = asset if isinstance(asset, str) else asset.get("name")
        if items and name not in there:
            raise InvalidAssetName(
                f"No item here has an asset {name}; there are: {', '.join(sorted(there)) or 'none'}."
            )
