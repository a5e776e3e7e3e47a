"""Groups of commands that import a command's module only when that command is asked for.

Here belongs how a group finds its commands. Not here: the commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands lie in modules of a package, one a module, each called `command` there."""

    def __init__(self, *args: Any, package: str, modules: Mapping[str, str], **kwargs: Any) -> None:
        """As a group of click.

        Args:
            args: click's.
            package: the name of the package.
            modules: command -> module, in the order of the help.
            kwargs: click's.
        """
        super().__init__(*args, **kwargs)
        self._package = package
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = self._modules.get(cmd_name)
        if module is None:
            return None
        command = import_module(f"{self._package}.{module}").command
        assert isinstance(command, click.Command)
        return command
