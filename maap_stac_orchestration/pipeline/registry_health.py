"""Whether the registry that the settings name is the one that decides, told for an operator.

Here belongs what a check of the registry says, which the runs and a sensor evaluate alike. Not here: how the registry
is found and what stands in for it (`registry`), and what Dagster makes of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from maap_stac_orchestration.pipeline.registry import RegistryInForce, RegistryUnavailable
from maap_stac_orchestration.settings import Settings

#: Instead of a version where no registry is in force, so that nothing is decided.
NONE_IN_FORCE = "none is in force"
#: Instead of a file's name where the settings name none.
NO_FILE = "MAAP_STAC_REGISTRY names no file"


@dataclass(frozen=True, slots=True)
class RegistryHealth:
    """The answer; equal answers need not be told twice."""

    #: False while another registry, or none, stands in for the one that the settings name.
    loads: bool
    #: The version that decides, or `NONE_IN_FORCE`.
    version: str
    #: The path or address of the file, or `NO_FILE`.
    file: str
    #: What is wrong and what is in force instead, in sentences; what is well otherwise.
    message: str


def registry_health(settings: Settings, found: RegistryInForce | RegistryUnavailable) -> RegistryHealth:
    """How the registry stands, by what asking for it gave or raised."""
    file = settings.registry or NO_FILE
    if isinstance(found, RegistryUnavailable):
        return RegistryHealth(False, NONE_IN_FORCE, file, str(found))
    version = found.registry.version
    if found.warning is not None:
        return RegistryHealth(False, version, file, found.warning)
    return RegistryHealth(True, version, file, f"The registry {version} is in force.")
