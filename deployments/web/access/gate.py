"""Tells who somebody is: by a token in the header `Authorization`, or by the cookie of a browser that signed in."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Protocol

from starlette.requests import HTTPConnection

from deployments.web.access.audit import AuditLog
from deployments.web.problems import ProblemError
from fleet.access.roles import ANYBODY, Principal
from fleet.access.signed_tokens import key_file
from fleet.access.token_file import TokenFile
from fleet.access.tokens import TokenBook
from fleet.errors import NotSignedInError, SettingsError
from fleet.settings import AuthSettings

COOKIE: Final = "fleet_token"
# A look at the file costs a system call: one for all requests of this time.
LOOK_AGAIN_S: Final = 0.5
_WHERE_FROM: Final = {
    "none": "",
    "tokens": "of `fleet token create`",
    "jwt": "of your identity provider",
}

logger = logging.getLogger("fleet.access")


class Book(Protocol):
    """What tells whom a token proves."""

    @property
    def names(self) -> Sequence[str]:
        """What the audit log calls the parts of it."""

    def principal(self, text: str, now: datetime) -> Principal:
        """Return whom a token proves. Raises NotSignedInError."""

    def is_valid(self, principal: Principal, now: datetime) -> bool:
        """Tell whether what proved somebody still does."""


class Gate:
    """Knows the tokens that are taken; where `auth.mode` is `none`, everybody is `ANYBODY`."""

    def __init__(
        self,
        auth: AuthSettings,
        audit: AuditLog,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.is_open = auth.mode == "none"
        self._where_from = _WHERE_FROM[auth.mode]
        self._audit, self._now = audit, now
        self._read: Callable[[], Book] = TokenFile(auth.absolute_token_file).book
        if auth.mode == "jwt":
            self._read = key_file(auth.jwt).read
        self._book: Book = TokenBook() if self.is_open else self._read()
        self._looked_at_s = time.monotonic()

    def who(self, connection: HTTPConnection) -> Principal:
        """Return who asks. Raises NotSignedInError, or ProblemError (503) while the tokens cannot be read."""
        if self.is_open:
            return ANYBODY
        return self.holder(self._sent_token(connection))

    def holder(self, token: str) -> Principal:
        """Return whom a token proves. Raises NotSignedInError, or ProblemError (503)."""
        if self.is_open:
            return ANYBODY
        try:
            return self._tokens().principal(token, self._now())
        except SettingsError:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, "The gateway cannot read its tokens: its log says why."
            ) from None

    def still_knows(self, principal: Principal) -> bool:
        """Tell whether somebody may stay: their token has not expired, and nobody has revoked it."""
        if self.is_open:
            return True
        try:
            return self._tokens().is_valid(principal, self._now())
        except SettingsError:
            return False

    def _tokens(self) -> Book:
        if time.monotonic() - self._looked_at_s > LOOK_AGAIN_S:
            try:
                book = self._read()
            except SettingsError as error:
                logger.error("tokens_unreadable", extra={"reason": str(error)})  # noqa: TRY400 - the sentence says all
                raise
            self._audit.changed(self._book, book)
            self._book, self._looked_at_s = book, time.monotonic()
        return self._book

    def _sent_token(self, connection: HTTPConnection) -> str:
        header = connection.headers.get("authorization")
        if header is None:
            if (cookie := connection.cookies.get(COOKIE)) is not None:
                return cookie
            raise NotSignedInError(f"Sign in, or send a token {self._where_from} as `Authorization: Bearer TOKEN`.")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotSignedInError(f"Authorization: {scheme[:20]!r} is not taken; send `Bearer` and a token.")
        return token.strip()
