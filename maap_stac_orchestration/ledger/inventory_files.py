"""Which data files of S3 inventories were read whole, so that going on after an interruption leaves them out.

Here belongs noting that and asking for it. Not here: reading them (`discovery.inventory_rows`), and the catalogs in
them (`discovery`).
"""

from __future__ import annotations

from dataclasses import dataclass

from maap_stac_orchestration.ledger.connection import Connection

_NOTE = """
INSERT INTO ledger.inventory_file (manifest, file, md5, keys, catalogs, new)
VALUES (%(manifest)s, %(file)s, %(md5)s, %(keys)s, %(catalogs)s, %(new)s)
ON CONFLICT (manifest, file) DO UPDATE SET
    md5 = EXCLUDED.md5, read_at = now(), keys = EXCLUDED.keys, catalogs = EXCLUDED.catalogs, new = EXCLUDED.new
"""

_READ_WHOLE = "SELECT file, md5 FROM ledger.inventory_file WHERE manifest = %(manifest)s"


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What reading a data file came to."""

    #: The file's key, and the MD5 of its bytes in hexadecimal digits, both as the manifest gives them.
    file: str
    md5: str
    #: Rows in it.
    keys: int
    #: Catalogs among them that count.
    catalogs: int
    #: Of those, the versions that the ledger had not known.
    new: int


def note(conn: Connection, manifest: str, read: ReadFile) -> None:
    """Notes that a data file of the manifest at this address was read whole; commit to make it hold."""
    conn.execute(
        _NOTE,
        {
            "manifest": manifest,
            "file": read.file,
            "md5": read.md5,
            "keys": read.keys,
            "catalogs": read.catalogs,
            "new": read.new,
        },
    )


def read_whole(conn: Connection, manifest: str) -> frozenset[tuple[str, str]]:
    """The key and MD5 of each data file of the manifest at this address that was read whole."""
    return frozenset((file, md5) for file, md5 in conn.execute(_READ_WHOLE, {"manifest": manifest}))
