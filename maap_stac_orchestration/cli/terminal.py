"""Printing on a terminal what others wrote.

Here belongs what every command that shows the ledger needs for that. Not here: what is printed (the commands).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table


def printable(text: str) -> str:
    """The text on one line, whole, with everything escaped that a terminal would obey."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_table(table: Table) -> None:
    """Prints a table in which columns of `no_wrap` stand whole, on one line; a terminal that is too narrow breaks lines
    itself. Into a file or a pipe, a row is one line."""
    from rich.console import Console

    console = Console(highlight=False)
    needed = _needed(console, table)
    console.width = max(console.width, needed.minimum) if console.is_terminal else max(needed.maximum, 1)
    console.print(table)


def fits(console: Console, table: Table) -> bool:
    """Whether a table's columns of `no_wrap` stand whole where it is printed; in a file or a pipe everything does."""
    return not console.is_terminal or _needed(console, table).minimum <= console.width


def _needed(console: Console, table: Table) -> Measurement:
    return console.measure(table, options=console.options.update(max_width=100_000))
