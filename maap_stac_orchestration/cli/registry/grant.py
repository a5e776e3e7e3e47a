"""`maap-stac registry grant`: lets somebody write to a collection, or to all collections of a prefix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maap_stac_orchestration.cli.registry.session import (
    author,
    change_options,
    entry_options,
    registry_session,
    show_change,
)


@click.command(
    epilog="\b\nExample:\n  maap-stac registry grant 'maap-*' --user @boreal --algorithm 'my-flood-detector@v1.*' \\\n"
    "      --create --reason 'Agreed with the boreal team'",
    short_help="Let somebody write to a collection or a prefix.",
)
@entry_options
@click.option("--create", is_flag=True, help="Let the collection be created on first use.")
@click.option("--title", help="The title of a collection that this grant creates.")
@click.option("--description", help="Its description.")
@click.option("--license", help="Its licence, an SPDX identifier or `other`.")
@click.option("--keyword", "keywords", multiple=True, help="A keyword of it; may be repeated.")
@change_options
def command(
    pattern: str,
    users: tuple[str, ...],
    algorithms: tuple[str, ...],
    create: bool,
    on_denied: str | None,
    reason: str,
    by: str | None,
    home: Path | None,
    as_json: bool,
    **words: Any,
) -> None:
    """Lets users write to a collection, from the next decision on.

    PATTERN is a collection id, or a prefix of ids with one * at its end; quote it, since shells read * themselves.
    {username} in it stands for the name of the user who asks. Exits with 2, and changes nothing, where the entry cannot
    be used.
    """
    document: dict[str, Any] = {"collection": pattern, "users": list(users)}
    if algorithms:
        document["algorithms"] = list(algorithms)
    if create:
        document["create"] = True
    if on_denied is not None:
        document["on_denied"] = on_denied
    template = {key: list(value) if key == "keywords" else value for key, value in words.items() if value}
    if template:
        document["template"] = template
    with registry_session(home, "grant") as session:
        from maap_stac_orchestration.pipeline.administer import grant

        entry = grant(session.connection, session.settings, "grants", document, author(by, reason))
        show_change(entry, f"Grant {entry.id} is in force: {', '.join(users)} may write to {pattern}", as_json)
