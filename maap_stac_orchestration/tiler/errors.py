"""What can go wrong with what is to be shown, each kind an exception whose text is for the person who asked.

Here belong the kinds. Not here: how they leave over HTTP (`problem_documents`).
"""

from __future__ import annotations

from rio_tiler.errors import InvalidAssetName, PointOutsideBounds, TileOutsideBounds


class BadParameter(Exception):
    """A parameter of the request cannot be used."""


class AssetTrouble(Exception):
    """An asset of an item cannot be shown, for good: other items can."""


class AssetRefused(AssetTrouble):
    """It lies where the tiler may not read, or is what the tiler does not open."""


class AssetMissing(AssetTrouble):
    """There is no such file."""


class AssetUnreadable(AssetTrouble):
    """The file, or what its item says of it, is broken."""


class StoreUnavailable(Exception):
    """The store does not answer, or refuses the tiler: nothing can be said of the asset."""


class LeftOut(TileOutsideBounds, PointOutsideBounds):
    """An item that a mosaic does without. Of the kinds that titiler's mosaics step over."""


class AssetNotInItem(InvalidAssetName, LeftOut):
    """An item that has no asset of the name that a mosaic is made of."""
