"""A process that lists days into a ledger and stands still when it comes to a certain folder, for tests that kill it.

Called with the database, the endpoint, the bucket, what stops it, and the days.
"""

from __future__ import annotations

import sys
import time
from datetime import date
from typing import Any

import boto3

from maap_stac_orchestration.ledger.connection import connect
from maap_stac_orchestration.pipeline.discover import BACKFILL, list_days


class StandingStill:
    """A client that never answers when it is asked for some folders."""

    def __init__(self, client: Any, at: str) -> None:
        self.client, self.at = client, at

    def list_objects_v2(self, **asked: Any) -> Any:
        """Forwards, or never returns."""
        while self.at in asked["Prefix"]:
            time.sleep(1)
        return self.client.list_objects_v2(**asked)


def main(database: str, endpoint: str, bucket: str, at: str, *days: str) -> None:
    """Lists."""
    client = StandingStill(boto3.client("s3", endpoint_url=endpoint), at)
    with connect(database) as conn:
        list_days(
            conn,
            client,  # type: ignore[arg-type]
            [bucket],
            [date.fromisoformat(day) for day in days],
            priority=BACKFILL,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
