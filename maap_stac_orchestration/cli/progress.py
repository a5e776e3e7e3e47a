"""Progress bars of commands that wait for others to do something.

Here belongs how they look, so that they look the same. Not here: what is waited for (the commands).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def progress(names: Sequence[str], total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Shows a bar of `total` steps for each name on stderr, or nothing; gives what advances a name's bar by one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<11}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bars:
        tasks = {name: bars.add_task(name, total=total) for name in names}
        yield lambda name: bars.advance(tasks[name])
