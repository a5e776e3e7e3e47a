"""Writing down catalogs that were seen, by whatever means, so that each version counts once.

Here belongs what makes a job known and due. Not here: how catalogs are found (`discovery`), and claiming (`claims`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice

from maap_stac_orchestration.dps.job import OutputPrefix
from maap_stac_orchestration.dps.output_prefix import find_output_prefix
from maap_stac_orchestration.ledger.arrays import array, columns
from maap_stac_orchestration.ledger.connection import Connection
from maap_stac_orchestration.ledger.records import Recorded, SeenCatalog

#: Rows that are written at once; large enough that the round trips do not count.
CHUNK = 5_000

#: Seconds after which a job is due of which only nested catalogs are known: the root usually follows.
NESTED_DELAY = 10

#: Sources that say what lies in the bucket now, whatever the dates say: a multipart upload bears the date of its
#: beginning. An event or an inventory may be late.
_SAYING_NOW = ("listing", "request")

#: Serialises those who record, so that no two of them wait for each other's jobs ("record" in ASCII).
_RECORDING = "SELECT pg_advisory_xact_lock(125779836232292)"

# Most of what a listing sees is known already. A known version counts again when it came back: another version followed
# it, and this sighting is later than that. Versions are compared by whole seconds, because listings give no more.
_NEWS = """
SELECT seen.number - 1 AS number, same.id IS NOT NULL AS returned
FROM unnest(
    %(bucket)s::text[], %(key)s::text[], %(etag)s::text[], %(last_modified)s::timestamptz[]
) WITH ORDINALITY AS seen (bucket, key, etag, last_modified, number)
LEFT JOIN ledger.catalog AS same USING (bucket, key, etag)
LEFT JOIN LATERAL (
    SELECT max(catalog.last_modified) AS last_modified
    FROM ledger.catalog
    WHERE catalog.bucket = seen.bucket AND catalog.key = seen.key AND catalog.etag <> seen.etag
) AS other ON same.id IS NOT NULL
WHERE same.id IS NULL
   OR (
        other.last_modified >= same.last_modified
        AND date_trunc('second', seen.last_modified) > date_trunc('second', other.last_modified)
   )
ORDER BY seen.number
"""

# A job is written as it is to be: written first and made due then, it would cost each index of the table twice. Where
# only nested catalogs are known, the root usually follows.
_NEW_JOBS = """
INSERT INTO ledger.job (
    bucket, prefix, day, job_time, username, algorithm, version, tag, priority, due_at, catalog_modified,
    estimated_items
)
SELECT
    bucket, prefix, (job_time AT TIME ZONE 'UTC')::date, job_time, username, algorithm, version, tag, min(priority),
    CASE WHEN bool_or(root) THEN now() ELSE now() + %(nested_delay)s * interval '1 second' END,
    max(last_modified),
    greatest(max(CASE WHEN root THEN (least(size, 1000000000) - 400) / 150 END), 1)
FROM unnest(
    %(bucket)s::text[], %(prefix)s::text[], %(job_time)s::timestamptz[], %(username)s::text[], %(algorithm)s::text[],
    %(version)s::text[], %(tag)s::text[], %(priority)s::smallint[], %(last_modified)s::timestamptz[],
    %(size)s::bigint[], %(root)s::boolean[]
) AS s (bucket, prefix, job_time, username, algorithm, version, tag, priority, last_modified, size, root)
GROUP BY bucket, prefix, job_time, username, algorithm, version, tag
ORDER BY bucket, prefix
ON CONFLICT (bucket, prefix) DO NOTHING
RETURNING id
"""

_LOCK_JOBS = """
SELECT job.id, job.bucket, job.prefix
FROM (
    SELECT DISTINCT * FROM unnest(%(bucket)s::text[], %(prefix)s::text[]) AS s (bucket, prefix)
) AS s
JOIN ledger.job USING (bucket, prefix)
ORDER BY job.id
FOR NO KEY UPDATE OF job
"""

# A version that is older than one that is known of its key is written down and changes nothing else, which is why
# `fresh` asks what was there before. What lies in the bucket now is the newest, so it gets the newest date of its key.
_RECORD = """
WITH seen AS (
    SELECT * FROM unnest(
        %(job)s::bigint[], %(bucket)s::text[], %(key)s::text[], %(etag)s::text[], %(version_id)s::text[],
        %(size)s::bigint[], %(last_modified)s::timestamptz[], %(source)s::text[], %(priority)s::smallint[],
        %(root)s::boolean[], %(returned)s::boolean[], %(made)s::boolean[]
    ) AS s (job_id, bucket, key, etag, version_id, size, last_modified, source, priority, root, returned, made)
),
written AS (
    INSERT INTO ledger.catalog (job_id, bucket, key, etag, version_id, size, last_modified, source)
    SELECT
        job_id, bucket, key, etag, version_id, size,
        CASE WHEN source = ANY (%(saying_now)s::text[]) THEN greatest(last_modified, (
            SELECT max(catalog.last_modified) FROM ledger.catalog
            WHERE catalog.bucket = seen.bucket AND catalog.key = seen.key
        )) ELSE last_modified END,
        source
    FROM seen
    WHERE NOT returned
    ORDER BY last_modified
    ON CONFLICT (bucket, key, etag) DO NOTHING
    RETURNING bucket, key, etag
),
came_back AS (
    UPDATE ledger.catalog SET last_modified = seen.last_modified, version_id = seen.version_id, source = seen.source
    FROM seen
    WHERE seen.returned
      AND catalog.bucket = seen.bucket AND catalog.key = seen.key AND catalog.etag = seen.etag
    RETURNING catalog.bucket, catalog.key, catalog.etag
),
fresh AS (
    SELECT
        seen.job_id,
        min(seen.priority) AS priority,
        bool_or(seen.root) AS root,
        max(seen.last_modified) AS last_modified,
        max(CASE WHEN seen.root THEN seen.size END) AS root_size
    FROM seen
    JOIN (SELECT * FROM written UNION ALL SELECT * FROM came_back) AS counting USING (bucket, key, etag)
    WHERE NOT seen.made
      AND (seen.source = ANY (%(saying_now)s::text[]) OR NOT EXISTS (
            SELECT FROM ledger.catalog AS newer
            WHERE newer.bucket = seen.bucket AND newer.key = seen.key AND newer.etag <> seen.etag
              AND date_trunc('second', newer.last_modified) > date_trunc('second', seen.last_modified)
      ))
    GROUP BY seen.job_id
),
due AS (
    UPDATE ledger.job SET
        generation = job.generation + 1,
        state = CASE WHEN job.state = 'ingesting' THEN job.state ELSE 'discovered' END,
        attempts = 0,
        waits = 0,
        due_at = CASE
            WHEN job.state = 'ingesting' THEN job.due_at
            WHEN fresh.root THEN least(job.due_at, now())
            WHEN job.state = 'discovered' THEN job.due_at
            ELSE least(job.due_at, now())
        END,
        priority = CASE WHEN job.due_at IS NULL THEN fresh.priority ELSE least(job.priority, fresh.priority) END,
        catalog_modified = greatest(job.catalog_modified, fresh.last_modified),
        -- A link takes some hundred bytes; an estimate by the items that were found is better, and kept.
        estimated_items = CASE
            WHEN job.loaded + job.unchanged + job.refused > 0 THEN job.estimated_items
            ELSE greatest(job.estimated_items, (least(fresh.root_size, 1000000000) - 400) / 150, 1)
        END,
        updated_at = now(),
        ended_at = CASE WHEN job.state = 'ingesting' THEN job.ended_at END
    FROM fresh
    WHERE job.id = fresh.job_id
    RETURNING job.id, job.state
),
noted AS (
    INSERT INTO ledger.transition (job_id, state, reason)
    SELECT DISTINCT job_id, 'discovered', NULL FROM seen WHERE made
    UNION ALL
    SELECT id, state, 'A catalog of the job has a new version.' FROM due WHERE state = 'discovered'
    ORDER BY 1
)
SELECT count(*) FROM written
"""

_WITH_ROOT = """
SELECT prefix FROM unnest(%(prefixes)s::text[]) AS asked (prefix)
WHERE EXISTS (SELECT FROM ledger.catalog WHERE bucket = %(bucket)s AND key = asked.prefix || 'catalog.json')
"""


def record(conn: Connection, seen: Iterable[SeenCatalog]) -> Recorded:
    """Writes down seen catalogs; those of unknown versions make their jobs due. Streams, in bounded memory.

    Safe to be repeated, and to be called by several at once. An older version that is reported after a newer one is
    written down and changes nothing else. A version that comes back after another one counts as new.

    Where no transaction is open, each few thousand rows are committed; what has been written down is then safe.
    """
    new = known = ignored = 0
    iterator = iter(seen)
    while chunk := list(islice(iterator, CHUNK)):
        placed: dict[tuple[str, str, str], tuple[SeenCatalog, OutputPrefix]] = {}
        for one in chunk:
            prefix = find_output_prefix(one.key)
            if prefix is None:
                ignored += 1
                continue
            place = (one.bucket, one.key, one.etag)
            before = placed.get(place)
            if before is not None:
                known += 1
            if before is None or before[0].last_modified < one.last_modified:
                placed[place] = (one, prefix)
        if placed:
            written = _record_chunk(conn, [placed[place] for place in sorted(placed)])
            new += written
            known += len(placed) - written
    return Recorded(new, known, ignored)


def unknown(conn: Connection, seen: Iterable[SeenCatalog]) -> list[SeenCatalog]:
    """Those of the seen catalogs that would be news to the ledger, each once; changes nothing and waits for nobody.

    Give it a few thousand at a time. Most of what a backfill sees is known, and asking first keeps it from standing in
    the way of live work, which waits while another records.
    """
    placed: dict[tuple[str, str, str], SeenCatalog] = {}
    for one in seen:
        place = (one.bucket, one.key, one.etag)
        if find_output_prefix(one.key) is not None and (
            place not in placed or placed[place].last_modified < one.last_modified
        ):
            placed[place] = one
    ordered = [placed[place] for place in sorted(placed)]
    return [ordered[number] for number, _ in _news(conn, ordered)]


def with_root(conn: Connection, bucket: str, prefixes: Collection[str]) -> set[str]:
    """Those of a bucket's output prefixes of which a catalog at the root of the job is known."""
    return {prefix for (prefix,) in conn.execute(_WITH_ROOT, {"bucket": bucket, "prefixes": list(prefixes)})}


def _record_chunk(conn: Connection, placed: list[tuple[SeenCatalog, OutputPrefix]]) -> int:
    with conn.transaction():
        conn.execute(_RECORDING)
        found = _news(conn, [one for one, _ in placed])
        if not found:
            return 0
        news = [placed[number] for number, _ in found]
        sightings = columns(
            ("bucket", "prefix", "key", "etag", "version_id", "size", "last_modified", "source", "priority", "root"),
            (
                (
                    *(
                        one.bucket,
                        prefix.key,
                        one.key,
                        one.etag,
                        one.version_id,
                        one.size,
                        one.last_modified,
                        one.source,
                    ),
                    *(one.priority, one.key == f"{prefix.key}catalog.json"),
                )
                for one, prefix in news
            ),
        )
        names = columns(
            ("job_time", "username", "algorithm", "version", "tag"),
            ((prefix.time, prefix.username, prefix.algorithm, prefix.version, prefix.tag) for _, prefix in news),
        )
        made = {number for (number,) in conn.execute(_NEW_JOBS, sightings | names | {"nested_delay": NESTED_DELAY})}
        jobs = {(bucket, prefix): number for number, bucket, prefix in conn.execute(_LOCK_JOBS, sightings)}
        numbers = [jobs[one.bucket, prefix.key] for one, prefix in news]
        row = conn.execute(
            _RECORD,
            sightings
            | columns(
                ("job", "returned", "made"),
                ((number, returned, number in made) for number, (_, returned) in zip(numbers, found, strict=True)),
            )
            | {"saying_now": array(_SAYING_NOW)},
        ).fetchone()
    assert row is not None
    return int(row[0])


def _news(conn: Connection, seen: list[SeenCatalog]) -> list[tuple[int, bool]]:
    """Positions of what is not known yet or came back, and which of both it is."""
    return conn.execute(
        _NEWS,
        columns(
            ("bucket", "key", "etag", "last_modified"),
            ((one.bucket, one.key, one.etag, one.last_modified) for one in seen),
        ),
    ).fetchall()
