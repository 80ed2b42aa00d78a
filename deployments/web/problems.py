"""How the gateway says no: `application/problem+json` (RFC 9457) with a `detail` that says what to change."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from deployments.web.answers import Problem

MEDIA_TYPE = "application/problem+json"
MOST_NAMED, LONGEST_NAME = 3, 20  # of wrong parameters: a WebSocket's close has room for 123 bytes


class ProblemError(Exception):
    """A request that cannot be answered; `members` are further fields of the problem."""

    def __init__(self, status: HTTPStatus, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.members = status, detail, members


def problem_response(
    status: int, detail: str, members: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Build the answer: type, title and status as RFC 9457 wants them, the detail, and further members."""
    problem = msgspec.to_builtins(Problem("about:blank", HTTPStatus(status).phrase, status, detail))
    problem.update(members or {})
    return Response(msgspec.json.encode(problem), status, dict(headers or {}), MEDIA_TYPE)


def refused_names(given: Sequence[str], known: Sequence[str]) -> str | None:
    """Say which names of a query are no parameters, or come twice, and what to change; None where all is well."""
    if unknown := [name[:LONGEST_NAME] for name in dict.fromkeys(given) if name not in known]:
        there_are = f"there are {', '.join(known)}" if known else "there are none here"
        return f"{', '.join(unknown[:MOST_NAMED])}: no such parameter; {there_are}"
    if twice := [name for name in known if given.count(name) > 1]:
        return f"{', '.join(twice)}: given twice; give it once"
    return None


async def refuse_unknown_parameters(request: Request) -> None:
    """Let no parameter be ignored: a filter that is not applied would answer with everything. Raises ProblemError."""
    known = list(_parameters(request.scope["route"].dependant))
    given = [name for name, _ in request.query_params.multi_items()]
    if (refusal := refused_names(given, known)) is not None:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"The request's parameters: {refusal}.")


def _parameters(dependant: Any) -> Iterator[str]:
    """Return the names of a route's query parameters, and of what it depends on."""
    yield from (field.alias for field in dependant.query_params)
    for other in dependant.dependencies:
        yield from _parameters(other)


def answer_with_problems(app: FastAPI) -> None:
    """Give every error of `app` the same shape."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(Exception, _on_bug)


def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    headers = {"Retry-After": "1"} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem_response(error.status, error.detail, error.members, headers)


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    details = {
        HTTPStatus.NOT_FOUND: f"There is nothing at {path}: /docs lists what there is.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} does not take {request.method}: /docs lists what it takes.",
    }
    detail = details.get(HTTPStatus(error.status_code), str(error.detail))
    return problem_response(error.status_code, detail, headers=error.headers)


def _on_invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    sentences = "; ".join(f"{mistake['loc'][-1]}: {mistake['msg']}" for mistake in error.errors())
    return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, f"The request's parameters: {sentences}.")


def _on_bug(_: Request, __: Exception) -> Response:
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "The gateway failed on this request; its log has the reason."
    )
