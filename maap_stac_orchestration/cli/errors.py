"""How the command line tells errors: a sentence on stderr, never a traceback for what a user can mend."""

from __future__ import annotations

import sys

import click


class Told(Exception):
    """An error that is one sentence for the user; other floors' errors are turned into it where they are expected."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def told(group: click.Group) -> int:
    """Runs the group and returns the exit code.

    Click's own errors (wrong use) exit with 2; `Told` and `SettingsError` print their sentence. Anything else is a
    defect and keeps its traceback.
    """
    try:
        result = group.main(standalone_mode=False)
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return 2
    except click.Abort:
        click.echo("Stopped.", err=True)
        return 130
    except Told as error:
        click.echo(f"maap-stac: {error}", err=True)
        return error.exit_code
    except Exception as error:
        # Only modules that are loaded already can have raised these; importing them here would slow every command.
        if type(error).__name__ == "SettingsError":
            click.echo(f"maap-stac: {error}", err=True)
            return 2
        raise
    return result if isinstance(result, int) else 0
