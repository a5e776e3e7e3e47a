"""Groups with tags like dates are told from one to the next, however many jobs each has."""

from __future__ import annotations

from typing import Any

from maap_stac_orchestration.ledger.dated_tags import _GROUPS, dated_groups
from maap_stac_orchestration.ledger.discovery import record
from maap_stac_orchestration.ledger.records import SeenCatalog

from .build import BUCKET, WRITTEN, Connection, nodes

TIME = "2025/08/19/09/59/01/262274/"


def seen(*groups: str, bucket: str = BUCKET) -> list[SeenCatalog]:
    return [SeenCatalog(bucket, f"{group}{TIME}catalog.json", "e", 3, WRITTEN, None, "event") for group in groups]


def test_only_tags_with_a_folder_like_a_year_are_told_each_once(connection: Connection) -> None:
    dated = [
        "ana/dps_output/a/v/2024/",
        "ana/dps_output/a/v/2024/07/run/",
        "shared/ana/dps_output/a/v/täg/2019/",
        "zoe/dps_output/2024/2024/x/2024/x/",
    ]
    others = ["ana/dps_output/2024/2024/", "ana/dps_output/a/v/", "ana/dps_output/a/v/AGB_2020/run2024/20245/"]
    record(connection, seen(*others, *dated))
    record(connection, seen("bob/dps_output/a/v/2024/", bucket="other"))
    later = [one.key.replace("/09/59/", "/10/00/") for one in seen(*dated)]
    record(connection, [SeenCatalog(BUCKET, key, "e", 3, WRITTEN, None, "event") for key in later])
    assert sorted(dated_groups(connection, BUCKET)) == dated
    assert dated_groups(connection, "other") == ["bob/dps_output/a/v/2024/"]
    assert dated_groups(connection, "empty") == []


def test_many_jobs_of_a_group_are_one_look_into_the_index(connection: Connection) -> None:
    connection.execute(
        """
        INSERT INTO ledger.job (
            bucket, prefix, day, job_time, username, algorithm, version, tag, state, catalog_modified
        )
        SELECT %(bucket)s, 'ana/dps_output/a/v/2024/run' || number %% 10 || '/2025/08/19/09/59/01/' || 100000 + number
            || '/', '2025-08-19', '2025-08-19', 'ana', 'a', 'v', '2024/run' || number %% 10, 'loaded', now()
        FROM generate_series(1, 20000) AS number
        """,
        {"bucket": BUCKET},
    )
    connection.execute("ANALYZE ledger.job")
    assert len(dated_groups(connection, BUCKET)) == 10
    explained: Any = connection.execute(f"EXPLAIN (ANALYZE, FORMAT json) {_GROUPS}", {"bucket": BUCKET}).fetchone()
    scans = [node for node in nodes(explained[0][0]["Plan"]) if node.get("Relation Name") == "job"]
    assert scans
    assert {node.get("Index Name") for node in scans} == {"job_dated_tag"}
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 12
