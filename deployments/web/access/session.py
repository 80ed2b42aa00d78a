"""Signing in from a browser: a token becomes a cookie that no script can read and no other site can send."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from deployments.web.access.audit import AuditLog
from deployments.web.access.gate import COOKIE, Gate
from deployments.web.access.guard import address_of
from deployments.web.access.rules import SESSION_PATH
from deployments.web.answers import Session, SignedOut, SignIn
from deployments.web.openapi import answers
from deployments.web.problems import ProblemError
from fleet.access.roles import Principal
from fleet.errors import NotSignedInError

MOST_BODY_BYTES: Final = 4_096
NEVER_STORE: Final = {"cache-control": "no-store"}


def session_routes(gate: Gate, audit: AuditLog, session_hours: float) -> APIRouter:
    """Build the routes of signing in and out."""
    router = APIRouter(tags=["session"])

    @router.get(SESSION_PATH, summary="Who is signed in", responses=answers(Session, 401))
    async def who(request: Request) -> Response:
        try:
            return _answer(_session(gate.who(request)))
        except NotSignedInError as unknown:
            raise ProblemError(HTTPStatus.UNAUTHORIZED, str(unknown)) from None

    @router.post(SESSION_PATH, summary="Sign in: a token becomes a cookie", responses=answers(Session, 401, 422))
    async def sign_in(request: Request) -> Response:
        token = await _read_token(request)
        try:
            principal = gate.holder(token)
        except NotSignedInError as unknown:
            audit.refuse(str(unknown), "", SESSION_PATH, address_of(request))
            raise ProblemError(HTTPStatus.UNAUTHORIZED, str(unknown)) from None
        audit.signed_in(principal.token_id, principal.name, address_of(request))
        answer = _answer(_session(principal))
        if not gate.is_open:
            _set_cookie(answer, request, token, _seconds(principal, session_hours))
        return answer

    @router.delete(SESSION_PATH, summary="Sign out", responses=answers(SignedOut))
    async def sign_out(request: Request) -> Response:
        answer = _answer(SignedOut())
        _set_cookie(answer, request, "", 0)
        return answer

    return router


async def _read_token(request: Request) -> str:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            break
    try:
        return msgspec.json.decode(bytes(body), type=SignIn).token
    except msgspec.MsgspecError:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, 'The body is refused: send {"token": "…"}.') from None


def _session(principal: Principal) -> Session:
    return Session(principal.name, principal.role.value, principal.tenant, principal.expires_at)


def _answer(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json", headers=NEVER_STORE)


def _seconds(principal: Principal, session_hours: float) -> int:
    """For how long the cookie is good: no longer than its token."""
    seconds = session_hours * 3600
    if principal.expires_at is not None:
        seconds = min(seconds, (principal.expires_at - datetime.now(UTC)).total_seconds())
    return max(0, int(seconds))


def _set_cookie(answer: Response, request: Request, token: str, max_age_s: int) -> None:
    # A proxy that ends TLS says so; over plain text a browser would not send a `Secure` cookie back.
    is_secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
    answer.set_cookie(COOKIE, token, max_age=max_age_s, path="/", httponly=True, samesite="strict", secure=is_secure)
