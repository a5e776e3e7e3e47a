"""Pointing a command at a running stack: the `env` of a stack.json becomes this process's environment.

Here belongs how a command that talks to a stack finds it. Not here: starting one (`stack`) and what can be set
(`settings`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from maap_stac_orchestration.cli.errors import Told
from maap_stac_orchestration.stack.home import DEFAULT_HOME, Home

_Command = TypeVar("_Command", bound=Callable[..., Any])


def home_option(command: _Command) -> _Command:
    """The option `--home` of commands that talk to a running stack."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        help="The home of the stack to use.  [default: what the environment says, else MAAP_STAC_HOME, else "
        f"./{DEFAULT_HOME}]",
    )(command)


def use_stack(home: Path | None, needed: Iterable[str]) -> None:
    """Makes sure that the environment says where things are.

    With `home` its stack.json wins. Without it nothing is read where all of the `needed` variables are set already;
    otherwise the stack of MAAP_STAC_HOME or ./.maap-stac fills in those that are missing.

    Raises:
        Told: something needed is not set, and there is no stack.json or it cannot be used.
    """
    missing = [name for name in needed if not os.environ.get(name)]
    if home is None and not missing:
        return
    file = Home.at(home).stack_json
    for name, value in _stack_environment(file, missing).items():
        if home is not None or not os.environ.get(name):
            os.environ[name] = value
    missing = [name for name in needed if not os.environ.get(name)]
    if missing:
        raise Told(f"{file} does not say {', '.join(missing)}; set it in the environment.")


def _stack_environment(file: Path, missing: list[str]) -> dict[str, str]:
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        unset = f"{', '.join(missing)} is not set, and there" if missing else "There"
        raise Told(
            f"{unset} is no running stack at {file.parent}; start one with `maap-stac up`, or name its home with "
            "--home."
        ) from None
    except (OSError, ValueError) as error:
        raise Told(f"{file} cannot be read ({error}); start the stack again with `maap-stac up`.") from None
    environment = document.get("env") if isinstance(document, dict) else None
    if not isinstance(environment, dict):
        raise Told(f"{file} has no env; start the stack again with `maap-stac up`.")
    found = {str(name): str(value) for name, value in environment.items()}
    if isinstance(document.get("api_url"), str):
        found.setdefault("MAAP_STAC_PUBLIC_URL", document["api_url"])
    return found
