"""The OpenAPI document, put right where FastAPI cannot know: how errors look.

Here belongs what is done to the document as a whole. Not here: what each route says of itself, and the shapes of
answers (`models`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from maap_stac_orchestration.web.problem_documents import MEDIA_TYPE, ProblemDetails

_PROBLEM = f"#/components/schemas/{ProblemDetails.__name__}"
#: What FastAPI says of every route that takes anything; here such an error is a problem document, with another status.
_DEFAULT_ERROR = "#/components/schemas/HTTPValidationError"
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


def describe_errors(app: FastAPI) -> None:
    """Makes the application's OpenAPI document say that errors are problem documents, and of which media type."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _put_right(made())
        assert app.openapi_schema is not None
        return app.openapi_schema

    # As FastAPI's documentation has it.
    app.openapi = openapi  # type: ignore[method-assign]


def _put_right(document: dict[str, Any]) -> None:
    for operation in _operations(document):
        responses: dict[str, Any] = operation["responses"]
        for status, response in list(responses.items()):
            content = response.get("content", {})
            shapes = {one.get("schema", {}).get("$ref") for one in content.values()}
            if shapes == {_DEFAULT_ERROR}:
                del responses[status]
            elif shapes == {_PROBLEM}:
                # FastAPI puts the shape under the route's own media type.
                response["content"] = {MEDIA_TYPE: next(iter(content.values()))}
        if not any(status.startswith("4") for status in responses):
            responses["4XX"] = {
                "description": "A problem document",
                "content": {MEDIA_TYPE: {"schema": {"$ref": _PROBLEM}}},
            }
    schemas = document.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from (operation for method, operation in path.items() if method in _METHODS)
