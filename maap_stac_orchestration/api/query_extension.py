"""The Query extension with every operator that it has, as CQL2.

Here belongs what `query` may hold and what it means. Not here: filters that come as CQL2 already.

stac-fastapi-pgstac 7.2 takes six of the ten operators and announces all of them; pgstac 0.10.0 knows `in` and `like`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attr
from pydantic import BaseModel, Field
from stac_fastapi.extensions.query import QueryExtension

Operator = Literal["eq", "ne", "neq", "lt", "lte", "gt", "gte", "startsWith", "endsWith", "contains", "in"]

_COMPARISONS = {"eq": "=", "ne": "<>", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
#: Around a text that `like` compares with, where it stands for any text.
_PATTERNS = {"startsWith": "{}%", "endsWith": "%{}", "contains": "%{}%"}


class QueryUnusable(ValueError):
    """A query cannot be used; the message says what it should be."""


class QueryRequest(BaseModel):
    """What the body of a search has of this extension."""

    query: dict[str, dict[Operator, Any]] | None = Field(
        default=None,
        description="Property -> operator -> value, all of which must hold.",
        json_schema_extra={"example": {"maap:username": {"eq": "henrydevseed"}, "eo:cloud_cover": {"lt": 10}}},
    )


@attr.s
class EveryOperator(QueryExtension):
    """The extension; its parameter in GET requests is that of stac-fastapi."""

    POST = QueryRequest


def as_filter(query: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The filter in CQL2 JSON that means the same; None where the query asks for nothing.

    Raises:
        QueryUnusable: an operator is not known, or its value is of the wrong kind.
    """
    if not isinstance(query, Mapping):
        raise QueryUnusable('it is no JSON object; write it like {"eo:cloud_cover": {"lt": 10}}')
    conditions = [
        _condition(name, operator, value)
        for name, asked in query.items()
        for operator, value in (asked.items() if isinstance(asked, Mapping) else [("eq", asked)])
    ]
    return {"op": "and", "args": conditions} if conditions else None


def _condition(name: str, operator: str, value: Any) -> dict[str, Any]:
    subject = {"property": name}
    if operator in _COMPARISONS:
        if isinstance(value, list | dict):
            raise QueryUnusable(f"{operator} of {name} compares with one number, text or truth value")
        return {"op": _COMPARISONS[operator], "args": [subject, value]}
    if operator == "in":
        if not isinstance(value, list) or not value:
            raise QueryUnusable(f"in of {name} takes an array of one value or more")
        return {"op": "in", "args": [subject, value]}
    if operator in _PATTERNS:
        if not isinstance(value, str):
            raise QueryUnusable(f"{operator} of {name} compares with a text")
        # What has a meaning to `like` shall have none here.
        plain = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return {"op": "like", "args": [subject, _PATTERNS[operator].format(plain)]}
    known = ", ".join([*_COMPARISONS, *_PATTERNS, "in"])
    raise QueryUnusable(f"the operator {operator[:50]!a} of {name} is not one of {known}")
