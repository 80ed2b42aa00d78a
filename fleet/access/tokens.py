"""Tokens: how one is made, what is kept of it, and whom it proves. The clock is passed in.

A token reads `fleet_ID_SECRET`. Its ID may be shown in logs; of the secret only a hash is kept. The secret is 256
random bits, so that one round of SHA-256 is enough: there is no list of likely secrets to try.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from fleet.access.roles import PERMISSIONS, Permission, Principal, Role
from fleet.errors import NotSignedInError, SettingsError

ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(r"fleet_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NO_SECRET: Final = "0" * 64


class StoredToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a token. `tenant` is None for a role that sees every tenant."""

    id: str
    name: str
    role: Role
    tenant: str | None
    created_at: datetime
    expires_at: datetime
    secret_sha256: str

    @property
    def principal(self) -> Principal:
        """Whom it proves."""
        return Principal(self.name, self.role, self.tenant, self.id, self.expires_at)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[StoredToken]


def new_token(name: str, role: Role, tenant: str | None, lifetime: timedelta, now: datetime) -> tuple[str, StoredToken]:
    """Make a token: its text, which is never to be had again, and what is kept of it."""
    token_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    whose = None if Permission.EVERY_TENANT in PERMISSIONS[role] else tenant
    stored = StoredToken(token_id, name, role, whose, now, now + lifetime, _hash(secret))
    return f"fleet_{token_id}_{secret}", stored


class TokenBook:
    """Tokens that were given out and not revoked."""

    def __init__(self, tokens: Iterable[StoredToken] = ()) -> None:
        self._tokens = {token.id: token for token in tokens}

    @property
    def tokens(self) -> list[StoredToken]:
        """All of them, expired ones too."""
        return list(self._tokens.values())

    @property
    def names(self) -> list[str]:
        """Their IDs, which are no secret."""
        return list(self._tokens)

    def principal(self, text: str, now: datetime) -> Principal:
        """Return whom a token proves. Raises NotSignedInError; who lacks the secret does not learn why."""
        match = _TOKEN.fullmatch(text)
        token_id, secret = match.groups() if match else ("", "")
        stored = self._tokens.get(token_id)
        # The comparison takes its time for an unknown ID too, so that nobody can find out which IDs there are.
        is_right = hmac.compare_digest(_hash(secret), stored.secret_sha256 if stored else _NO_SECRET)
        if stored is None or not is_right:
            raise NotSignedInError("The token is not known here, or was revoked: ask an operator for another one.")
        if now >= stored.expires_at:
            raise NotSignedInError(f"The token expired on {stored.expires_at:%Y-%m-%d}: ask for another one.")
        return stored.principal

    def is_valid(self, principal: Principal, now: datetime) -> bool:
        """Tell whether what proved somebody still does: neither revoked nor expired."""
        stored = self._tokens.get(principal.token_id or "")
        return stored is not None and stored.principal == principal and now < stored.expires_at


def read_book(content: bytes) -> TokenBook:
    """Read a file of tokens. Raises SettingsError where it is none."""
    try:
        tokens = _decode(content).tokens
    except msgspec.MsgspecError as wrong:
        raise SettingsError(f"It is no file of tokens ({wrong}): write it with `fleet token create`.") from None
    if naive := next((token for token in tokens if token.expires_at.tzinfo is None), None):
        raise SettingsError(f"Token {naive.id} expires at a time without a zone: add Z to it.")
    return TokenBook(tokens)


def write_book(book: TokenBook) -> bytes:
    """Write a file of tokens, to be read by people too."""
    return msgspec.json.format(msgspec.json.encode(_File(book.tokens)), indent=2) + b"\n"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


_decode: Callable[[bytes], _File] = msgspec.json.Decoder(_File).decode
