"""Groups of jobs whose tag holds a folder that is spelled like a year.

Here belongs telling which of them are known: a listing of a bucket sees such a tag among the folders of timestamps only
where it looks for it. Not here: looking for it (`discovery.dated_tags`).
"""

from __future__ import annotations

from maap_stac_orchestration.ledger.connection import Connection

# From one group to the next by the index job_dated_tag, however many jobs each has. 27 is the length of a timestamp
# with its final slash.
_GROUPS = """
WITH RECURSIVE groups (name) AS (
    (
        SELECT left(prefix, -27) FROM ledger.job
        WHERE bucket = %(bucket)s AND tag ~ '(^|/)[0-9]{4}(/|$)'
        ORDER BY left(prefix, -27) LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT left(prefix, -27) FROM ledger.job
        WHERE bucket = %(bucket)s AND tag ~ '(^|/)[0-9]{4}(/|$)' AND left(prefix, -27) > groups.name
        ORDER BY left(prefix, -27) LIMIT 1
    )
    FROM groups WHERE groups.name IS NOT NULL
)
SELECT name FROM groups WHERE name IS NOT NULL
"""


def dated_groups(conn: Connection, bucket: str) -> list[str]:
    """What the output prefixes of such groups begin with, up to and with the slash before the timestamp, in order."""
    return [name for (name,) in conn.execute(_GROUPS, {"bucket": bucket})]
