"""Which registry is in force: the file that the settings name, or the last one that could be loaded from there.

Here belongs fetching the registry and what happens when that fails. Not here: what a registry means (`governance`) and
its history (`ledger.registries`).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from maap_stac_orchestration.governance.registry import Registry, RegistryError, load_registry
from maap_stac_orchestration.ledger import registries
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.settings import Settings
from maap_stac_orchestration.store.objects import ObjectError, StoreUnavailable

#: Far above what people write, far below what would hurt.
MAX_REGISTRY_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)


class RegistryUnavailable(Exception):
    """No registry can be put in force: the one in the settings cannot be loaded, and none was loaded before."""


@dataclass(frozen=True, slots=True)
class RegistryInForce:
    """The registry that decides, and what is wrong when it is not the one that the settings name."""

    registry: Registry
    #: None when all is well; else sentences for the operator: what cannot be loaded, and what is in force instead.
    warning: str | None = None


def current_registry(settings: Settings, conn: Connection | None = None) -> Registry:
    """The registry in force; one that stands in for a broken one is logged as an error.

    See `registry_in_force`, which tells about that in its result.
    """
    found = registry_in_force(settings, conn)
    if found.warning:
        _log.error(found.warning)
    return found.registry


def registry_in_force(settings: Settings, conn: Connection | None = None) -> RegistryInForce:
    """Loads the registry that the settings name; without one, the empty registry, which lets nobody choose.

    A registry that cannot be read or does not load changes nothing: with a connection, the last good one from the same
    place stays in force, so that a slip of the pen never opens or closes every collection at once. Each new content is
    written down in the ledger, refused ones too.

    Args:
        settings: `registry` is a path or an `s3://` address.
        conn: the ledger's connection; what is written there is committed.

    Raises:
        RegistryUnavailable: it cannot be loaded, and there is no ledger, or no good one in it.
    """
    source = settings.registry
    if not source:
        return RegistryInForce(Registry.empty())
    content = b""
    try:
        content = _fetch(source)
        registry = _parsed(content, source)
    except (RegistryError, ObjectError, StoreUnavailable, OSError) as error:
        reason = f"{error.strerror}." if isinstance(error, OSError) and error.strerror else str(error)
    else:
        if conn is not None:
            registries.record_load(conn, version=registry.version, source=source, content=_text(content))
            conn.commit()
        return RegistryInForce(registry)
    refused = f"The registry {source} cannot be loaded. {reason}"
    if conn is None:
        raise RegistryUnavailable(f"{refused}\nCorrect the file; nothing is decided without a registry.")
    registries.record_load(
        conn, version=sha256(content).hexdigest()[:12], source=source, content=_text(content), error=reason
    )
    last = registries.last_good(conn, source)
    conn.commit()
    if last is None:
        raise RegistryUnavailable(
            f"{refused}\nCorrect the file; none from there was ever in force, and without one nothing is decided."
        )
    return RegistryInForce(
        _parsed(last.content.encode(), source),
        f"{refused}\nThe registry {last.version} of {last.loaded_at:%Y-%m-%d %H:%M} UTC stays in force until then.",
    )


def _fetch(source: str) -> bytes:
    if not source.startswith("s3://"):
        return Path(source.removeprefix("file://")).read_bytes()
    from maap_stac_orchestration.store.s3 import S3Objects

    bucket, _, key = source.removeprefix("s3://").partition("/")
    return asyncio.run(S3Objects.from_environment().get(bucket, key, MAX_REGISTRY_BYTES)).data


@lru_cache(maxsize=4)
def _parsed(content: bytes, source: str) -> Registry:
    return load_registry(content, source)


def _text(content: bytes) -> str:
    """The content as the ledger can keep it: a text column takes neither broken UTF-8 nor NUL."""
    return content.decode(errors="replace").replace("\0", "�")
