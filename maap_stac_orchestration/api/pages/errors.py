"""Errors under `/status` as pages: a sentence for the person who asked, and where to go from there.

Here belongs who is answered with a page. Not here: what is wrong, which `problem_documents` words for everyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import Response

from maap_stac_orchestration.api.pages.rendering import ROOT, Pages, root
from maap_stac_orchestration.web.problem_documents import ProblemDetails

_TITLES = {
    HTTPStatus.BAD_REQUEST: "This address cannot be answered",
    HTTPStatus.UNAUTHORIZED: "This page needs a token",
    HTTPStatus.FORBIDDEN: "This page is not for everyone",
    HTTPStatus.NOT_FOUND: "Nothing is known here",
    HTTPStatus.METHOD_NOT_ALLOWED: "Pages can only be read",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database cannot be reached",
    HTTPStatus.GATEWAY_TIMEOUT: "This took too long",
}


def add_error_pages(app: FastAPI, pages: Pages) -> None:
    """Makes errors under `/status` pages, for all but those who ask for JSON and not for HTML."""

    def page(request: Request, problem: ProblemDetails, headers: Mapping[str, str]) -> Response | None:
        path = request.url.path.removeprefix(root(request))
        if path != ROOT and not path.startswith(f"{ROOT}/"):
            return None
        accepted = request.headers.get("Accept", "")
        if "json" in accepted and "text/html" not in accepted:
            return None
        status = HTTPStatus(problem.status)
        return pages.answer(
            request,
            "error.html",
            status=status,
            headers=headers,
            status_code=problem.status,
            title=_TITLES.get(status, "Something went wrong"),
            sentence=problem.detail,
            # What is not there yet, or does not answer now, may do so in a moment.
            waits=status in (HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
        )

    app.state.error_page = page
