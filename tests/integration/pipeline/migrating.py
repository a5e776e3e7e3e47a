"""A process that runs `maap-stac registry migrate-ids` in batches of one item, to be killed in the midst of it.

Run as `python -m tests.integration.pipeline.migrating TEMPLATE`, with PG* set.
"""

from __future__ import annotations

import sys

from maap_stac_orchestration.cli import group
from maap_stac_orchestration.cli.errors import told
from maap_stac_orchestration.pipeline import migrate_ids

#: How the process calls itself in pg_stat_activity.
APPLICATION = "maap-stac registry migrate-ids"

#: What the trail says of it.
AUTHOR = ("ada", "MAAP no longer has the tag in its ids")

if __name__ == "__main__":
    migrate_ids.BATCH = 1
    migrate_ids.JOBS = 1
    by, reason = AUTHOR
    sys.argv = ["maap-stac", "registry", "migrate-ids", "--to", sys.argv[1], "--apply", "--by", by, "--reason", reason]
    sys.exit(told(group))
