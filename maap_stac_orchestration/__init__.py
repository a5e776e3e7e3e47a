"""From the `catalog.json` of a MAAP DPS job to searchable, viewable STAC items.

The packages are floors, and an import always points down: `definitions` puts the Dagster code location together; `api`,
`cli` and the top-level `assets` and `sensors` are the doors; `stack` and `demo` are the local stack and what it shows;
`pipeline` holds the three stages; `ledger`, `pgstac`, `discovery` and `store` do the I/O; `settings` reads the
environment; `catalog`, `governance`, `dps` and `problems` are pure rules. docs/architecture.md has the map.
"""

__version__ = "0.1.0"
