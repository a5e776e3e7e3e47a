"""The built files of STAC Browser, held in memory: what each is, and how it is sent.

Some six megabytes, so that nothing is read, and nothing outside of them can be reached, while they are served. Not
here: building them (`build`), and answering requests (`app`).
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import brotli  # type: ignore[import-untyped]

from maap_stac_orchestration.browser.problems import BrowserUnavailable

INDEX = "index.html"
#: webpack's names, which hold a hash of what is in the file.
_HASHED = re.compile(r"\.[0-9a-f]{8,}\.\w+$")
_SMALL = 1_000
_TEXT = ("text/", "application/javascript", "application/json", "image/svg+xml")
#: Bytes of all files, beyond which a folder or archive is something else.
_MOST_BYTES = 100 * 2**20
#: Where the system knows no types, or other ones.
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """One file."""

    content: bytes
    content_type: str
    etag: str
    #: Whether a file of this name never changes.
    immutable: bool
    _compressed: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, path: str, content: bytes) -> BuiltFile:
        """A file as it will be served."""
        suffix = PurePosixPath(path).suffix
        guessed = _TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
        charset = "; charset=utf-8" if guessed.startswith("text/") else ""
        return cls(
            content=content,
            content_type=guessed + charset,
            etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            immutable=bool(_HASHED.search(path)),
        )

    def encoded(self, accepted: str) -> tuple[bytes, str | None]:
        """Its bytes for a client, compressed once and kept.

        Args:
            accepted: the client's Accept-Encoding.

        Returns:
            The bytes, and their Content-Encoding or None.
        """
        if len(self.content) < _SMALL or not self.content_type.startswith(_TEXT):
            return self.content, None
        offered = _accepted(accepted)
        encoding = next((each for each in ("br", "gzip") if each in offered), None)
        if encoding is None:
            return self.content, None
        if encoding not in self._compressed:
            # The best that brotli can do takes two seconds for the largest file, this one 50 ms.
            pack = (
                brotli.compress(self.content, quality=6) if encoding == "br" else gzip.compress(self.content, mtime=0)
            )
            self._compressed[encoding] = pack
        return self._compressed[encoding], encoding


def _accepted(header: str) -> set[str]:
    words = (part.strip().lower().partition(";") for part in header.split(","))
    return {name.strip() for name, _, weight in words if not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)}


def load(place: Path) -> Mapping[str, BuiltFile]:
    """The files of a build, by their path below it.

    Args:
        place: a folder, or an archive (.tar.gz) as `make stac-browser-archive` writes it.

    Raises:
        BrowserUnavailable: it is not there, cannot be read, or holds no STAC Browser.
    """
    try:
        contents = dict(_of_folder(place) if place.is_dir() else _of_archive(place))
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BrowserUnavailable(
            f"STAC Browser cannot be read from {place} ({error}): name a folder or .tar.gz of a build in "
            "MAAP_STAC_BROWSER_FILES."
        ) from error
    if INDEX not in contents or b'id="stac-browser"' not in contents[INDEX]:
        raise BrowserUnavailable(
            f"{place} holds no STAC Browser (no {INDEX} of it): name a folder or .tar.gz of a build in "
            "MAAP_STAC_BROWSER_FILES."
        )
    return {path: BuiltFile.of(path, content) for path, content in contents.items()}


def _of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    left = _MOST_BYTES
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            left -= path.stat().st_size
            _check_room(left)
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _of_archive(archive: Path) -> Iterator[tuple[str, bytes]]:
    left = _MOST_BYTES
    with tarfile.open(archive) as opened:
        for member in opened:
            left -= member.size
            _check_room(left)
            content = opened.extractfile(member) if member.isfile() else None
            if content is not None:
                # Archives hold one folder, named for the version.
                yield PurePosixPath(*PurePosixPath(member.name).parts[1:]).as_posix(), content.read()


def _check_room(left: int) -> None:
    if left < 0:
        raise OSError(f"it holds more than {_MOST_BYTES // 2**20} MB, which STAC Browser never has")
