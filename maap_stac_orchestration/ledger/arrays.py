"""Columns of values as PostgreSQL's array literals, for statements that take rows by the thousand through `unnest`.

Here belongs how values are spelled in such a literal. Not here: which texts a column takes (`texts`).

The driver can send lists itself, but looks at each element with a regular expression: of what ingesting 1,000 jobs of
one item costs in Python, a tenth was that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

#: The array of no values.
EMPTY = "{}"


def array(values: Iterable[object]) -> str:
    """The values as one array literal; the statement says of what type it is (`%(names)s::text[]`).

    Texts, numbers, truth values, dates, times with their zone, and None are what it takes; enums count as their texts.

    Raises:
        TypeError: a value is something else.
    """
    return "{" + ",".join([_element(value) for value in values]) + "}"


def columns(names: Sequence[str], rows: Iterable[Sequence[object]]) -> dict[str, str]:
    """Rows as the arrays that one statement takes for all of them, by name; without rows they are empty.

    Raises:
        ValueError: a row has more or fewer values than there are names.
    """
    turned = list(zip(*rows, strict=True)) or [()] * len(names)
    return {name: array(values) for name, values in zip(names, turned, strict=True)}


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        # In quotes whatever it is: the text NULL, an empty one, braces and commas.
        if "\\" in value:
            value = value.replace("\\", "\\\\")
        if '"' in value:
            value = value.replace('"', '\\"')
        return f'"{value}"'
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"An array takes no {type(value).__name__}: {value!r}.")
