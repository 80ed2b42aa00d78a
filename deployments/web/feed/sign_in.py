"""Who is behind a socket of `/ws/v2`: its headers prove it, or its first message does."""

from collections.abc import Iterable

from starlette.websockets import WebSocket

from deployments.web.access.audit import AuditLog
from deployments.web.access.gate import COOKIE, Gate
from deployments.web.access.guard import address_of
from deployments.web.access.rules import FEED_PATH
from deployments.web.problems import ProblemError
from fleet.access.roles import Permission, Principal
from fleet.delivery.feed.session import Identity, SignInRefusedError
from fleet.errors import NotSignedInError


class SignIn:
    """Turns tokens into identities; each refusal is noted."""

    def __init__(self, gate: Gate, audit: AuditLog) -> None:
        self._gate, self._audit = gate, audit

    def of(self, socket: WebSocket) -> Identity | None:
        """Return who a socket's headers prove; None where they say nothing, so that a message has to.

        Raises SignInRefusedError.
        """
        says_nothing = "authorization" not in socket.headers and COOKIE not in socket.cookies
        if says_nothing and not self._gate.is_open:
            return None
        try:
            return _viewing(self._gate.who(socket))
        except (NotSignedInError, ProblemError, SignInRefusedError) as refused:
            raise self._noted(refused, address_of(socket)) from None

    def by_token(self, token: str) -> Identity:
        """Return whom a token proves. Raises SignInRefusedError."""
        try:
            return _viewing(self._gate.holder(token))
        except (NotSignedInError, ProblemError, SignInRefusedError) as refused:
            raise self._noted(refused, "") from None

    def unwelcome(self, identities: Iterable[Identity | None]) -> set[Identity]:
        """Return those whose token has expired or was revoked."""
        return {known for known in identities if known is not None and not self._may_stay(known)}

    def _may_stay(self, identity: Identity) -> bool:
        return not isinstance(identity.holder, Principal) or self._gate.still_knows(identity.holder)

    def _noted(self, refused: Exception, address: str) -> SignInRefusedError:
        self._audit.refuse(str(refused), "", FEED_PATH, address)
        return refused if isinstance(refused, SignInRefusedError) else SignInRefusedError(str(refused))


def _viewing(principal: Principal) -> Identity:
    if not principal.may(Permission.VIEW):
        raise SignInRefusedError(f"The role {principal.role} may not view: ask for a token of another role.")
    until_s = None if principal.expires_at is None else principal.expires_at.timestamp()
    return Identity(principal.tenant, until_s, principal)
