"""`maap-stac registry export`: everything in force, or what once was, as a registry file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from maap_stac_orchestration.cli.environment import home_option
from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.cli.registry.session import registry_session


@click.command(
    epilog="\b\nExample:\n  maap-stac registry export > registry.yaml\n"
    "  maap-stac registry export --version 3f2c1b7a9d04 --format json",
    short_help="Print everything in force as a registry file.",
)
@click.option("--version", help="What was in force under this version, as decisions name it.  [default: now]")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@home_option
def command(version: str | None, form: str, as_json: bool, home: Path | None) -> None:
    """Prints the file's entries and those of the database together, in the full form of the registry file.

    What is printed can be loaded as a registry file that decides the same. Its version is another one, since that is
    the hash of the file.
    """
    with registry_session(home, "export") as session:
        from maap_stac_orchestration.governance.registry_document import registry_document
        from maap_stac_orchestration.pipeline.registry import registry_in_force, registry_of_version

        if version is None:
            in_force = registry_in_force(session.settings, session.connection, write_down=False)
            if in_force.warning:
                click.echo(f"maap-stac: {in_force.warning}", err=True)
            registry = in_force.registry
        else:
            found = registry_of_version(session.connection, version)
            if found is None:
                raise Told(
                    f"No registry of the version {version} was ever in force here. `maap-stac decisions` shows the "
                    "versions that decided."
                )
            registry = found
    document = registry_document(registry)
    if as_json or form == "json":
        click.echo(json.dumps(document, indent=2))
        return
    import yaml

    click.echo(f"# The registry {registry.version}: {' '.join(registry.source.split())}")
    click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=120), nl=False)
