"""`maap-stac migrate`: brings the schemas of a database up to date."""

from __future__ import annotations

import click

from maap_stac_orchestration.cli.errors import Told


@click.command(
    epilog="Example: PGHOST=db.example.org PGDATABASE=stac PGUSER=admin maap-stac migrate",
    short_help="Bring pgstac and the ledger up to date.",
)
def command() -> None:
    """Brings pgstac, the ledger and the queryables in the database that PGHOST and the other PG* variables name up to
    date. Changes nothing when they are. The user needs the right to create schemas and roles there; PostGIS must be
    installed on the server."""
    import psycopg

    from maap_stac_orchestration.stack.migration import migrate

    try:
        migrate()
    except psycopg.Error as error:
        raise Told(f"The database cannot be brought up to date: {str(error).strip()}", 1) from error
    click.echo("pgstac, the ledger and the queryables are up to date.")
