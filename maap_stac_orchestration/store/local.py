"""A local folder read as if it were (a part of) a bucket, for `maap-stac check` and for tests.

Here belongs reading files under keys. Not here: which folder a job lies in (`cli.check`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from maap_stac_orchestration.store.objects import (
    Fetched,
    ObjectInfo,
    ObjectMissing,
    ObjectTooLarge,
    StoreUnavailable,
)


class LocalObjects:
    """A folder in the shape of a bucket; whatever bucket is asked for, it answers.

    Args:
        root: The folder.
        prefix: What stands in front of the keys of all its files: empty, or a text that ends in `/`.
    """

    def __init__(self, root: Path | str, prefix: str = "") -> None:
        self.root = Path(root).resolve()
        self.prefix = prefix
        if prefix and not prefix.endswith("/"):
            raise ValueError(f"The prefix {prefix!r} of a folder's keys must end in a slash.")

    async def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        """See `ObjectStore.list`. Links to folders are not entered, and links out of the folder are not seen."""
        folder = self.root
        if prefix.startswith(self.prefix):
            folder = self.root / prefix[len(self.prefix) :].rpartition("/")[0]
        elif not self.prefix.startswith(prefix):
            return []
        if not folder.resolve().is_relative_to(self.root):
            return []
        found = []
        for parent, _, names in os.walk(folder, onerror=_raise_unavailable):
            for name in names:
                path = Path(parent, name)
                key = self.prefix + path.relative_to(self.root).as_posix()
                if not key.startswith(prefix) or (path.is_symlink() and not self._inside(path)):
                    continue
                status = _status(path)
                if status is not None and S_ISREG(status.st_mode):
                    found.append(_info(key, status))
        return sorted(found, key=lambda info: info.key)

    async def get(self, bucket: str, key: str, max_bytes: int) -> Fetched:
        """See `ObjectStore.get`."""
        relative = key[len(self.prefix) :]
        path = self.root / relative
        # A key is not a path: what a file system would resolve to something else is a key that is not here.
        plain = relative and not any(part in {"", ".", ".."} for part in relative.split("/")) and "\0" not in relative
        if not (plain and key.startswith(self.prefix) and path.is_file() and self._inside(path)):
            raise ObjectMissing(bucket, key)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                data = b"" if status.st_size > max_bytes else file.read(max_bytes + 1)
        except OSError as error:
            raise StoreUnavailable(f"The file {path} cannot be read: {error.strerror}.") from error
        size = max(status.st_size, len(data))
        if size > max_bytes:
            raise ObjectTooLarge(bucket, key, size, max_bytes)
        return Fetched(_info(key, status), data)

    def _inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.root)


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    """A file has no etag; when it was changed, with its size, changes when the bytes do."""
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return ObjectInfo(key, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}", modified)


def _status(path: Path) -> os.stat_result | None:
    """None where the file went away in the meantime or a link leads nowhere."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _raise_unavailable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise StoreUnavailable(f"The folder {error.filename} cannot be listed: {error.strerror}.") from error
