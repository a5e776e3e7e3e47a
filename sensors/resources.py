"""What the sensors are given: functions that hand out plain objects of the library.

Here belong the types of the resources. Not here: what stands behind them (`maap_stac_orchestration.definitions`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import dagster as dg

    from maap_stac_orchestration.ledger.connection import Connection
    from maap_stac_orchestration.pipeline.discover import Queue
    from maap_stac_orchestration.pipeline.registry import RegistryInForce
    from maap_stac_orchestration.settings import Settings

    #: Reads the settings of this process.
    LoadSettings: TypeAlias = Callable[[], Settings]
    #: Opens a connection to the database that holds the ledger; whoever opens it closes it.
    Connect: TypeAlias = Callable[[], Connection]
    #: The registry in force, and what is wrong where that is not the one that the settings name.
    LoadRegistry: TypeAlias = Callable[[Settings, Connection], RegistryInForce]
    #: The queue of the buckets' events with its kept clients, None where none is configured.
    OpenQueue: TypeAlias = Callable[[Settings], Queue | None]
    #: The kept client that lists the buckets.
    OpenListing: TypeAlias = Callable[[], Any]
    #: Makes what is still broken an evaluation of its check.
    TellStillBroken: TypeAlias = Callable[..., dg.AssetCheckEvaluation]
else:
    # Dagster reads the annotations of a sensor's arguments; to it, every resource is just an object.
    LoadSettings = Connect = LoadRegistry = OpenQueue = OpenListing = TellStillBroken = Any

__all__ = ["Connect", "LoadRegistry", "LoadSettings", "OpenListing", "OpenQueue", "TellStillBroken"]
