"""The ASGI middleware before every route: no request comes past it that may not.

It decides by the path alone, before a body is read. What it knows of the asker goes on in the connection's scope.
"""

from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.web.access.audit import AuditLog
from deployments.web.access.gate import Gate
from deployments.web.access.rules import permission_for
from deployments.web.access.sites import Sites
from deployments.web.problems import ProblemError, problem_response
from fleet.access.roles import Principal
from fleet.errors import NotSignedInError

UNAUTHENTICATED: Final = 4401
FORBIDDEN: Final = 4403
TRY_AGAIN_LATER: Final = 1013
_PRINCIPAL: Final = "fleet.principal"
_CLOSE_CODES: Final = {HTTPStatus.UNAUTHORIZED: UNAUTHENTICATED, HTTPStatus.FORBIDDEN: FORBIDDEN}


class Refusal(NamedTuple):
    """Why a connection does not come in."""

    status: HTTPStatus
    detail: str
    user: str = ""
    is_of_site: bool = False


def principal_of(connection: HTTPConnection) -> Principal:
    """Return who asks, on a route that asks for a permission."""
    principal: Principal = connection.scope[_PRINCIPAL]
    return principal


class Guard:
    """Lets in who may come in; refuses the others with a problem, and a WebSocket with a close code."""

    def __init__(self, app: ASGIApp, gate: Gate, sites: Sites, audit: AuditLog) -> None:
        self._app, self._gate, self._sites, self._audit = app, gate, sites, audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a connection on, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._site_refusal(connection) or self._refusal(connection)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(refusal, scope, receive, send)
        elif refusal.is_of_site:
            await send({"type": "websocket.close"})  # before it was accepted: the client sees 403
        else:
            await _close(refusal, scope, receive, send)

    def _site_refusal(self, connection: HTTPConnection) -> Refusal | None:
        found = self._sites.why_not(connection.scope.get("method"), connection.headers)
        if found is None:
            return None
        return self._noted(Refusal(found.status, found.detail, is_of_site=True), connection)

    def _refusal(self, connection: HTTPConnection) -> Refusal | None:
        permission = permission_for(connection.scope["path"])
        if permission is None:
            return None
        try:
            principal = self._gate.who(connection)
        except NotSignedInError as unknown:
            return self._noted(Refusal(HTTPStatus.UNAUTHORIZED, str(unknown)), connection)
        except ProblemError as problem:
            return Refusal(problem.status, problem.detail)
        if not principal.may(permission):
            detail = f"The role {principal.role} may not do this: it asks for the permission to {permission}."
            return self._noted(Refusal(HTTPStatus.FORBIDDEN, detail, principal.name), connection)
        connection.scope[_PRINCIPAL] = principal
        return None

    def _noted(self, refusal: Refusal, connection: HTTPConnection) -> Refusal:
        self._audit.refuse(refusal.detail, refusal.user, connection.scope["path"], address_of(connection))
        return refusal


def address_of(connection: HTTPConnection) -> str:
    """Return the address that a connection comes from; behind a proxy it is the proxy's."""
    return connection.client.host if connection.client else ""


async def _answer(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"cache-control": "no-store"}
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    await problem_response(refusal.status, refusal.detail, headers=headers)(scope, receive, send)


async def _close(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Take the connection and close it: a browser's page learns a code only of what was open."""
    await receive()
    # A browser that asked for a subprotocol fails the handshake without one.
    subprotocol = next(iter(scope.get("subprotocols", ())), None)
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
    reason = refusal.detail.encode()[:123].decode(errors="ignore")  # all that a close frame has room for
    code = _CLOSE_CODES.get(refusal.status, TRY_AGAIN_LATER)
    await send({"type": "websocket.close", "code": code, "reason": reason})
