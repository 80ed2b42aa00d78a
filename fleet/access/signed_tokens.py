"""Signed tokens (JWT, RFC 7519): whom they prove, by the public keys of whoever issues them.

What is taken is fixed by the settings and never by the token: its algorithm, issuer and audience. No algorithm with a
shared secret can be set, so that a public key cannot be taken for one.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from fleet.access.roles import PERMISSIONS, Permission, Principal, Role
from fleet.access.watched_file import Sentences, WatchedFile
from fleet.errors import NotSignedInError, SettingsError
from fleet.events.fields import DEFAULT_TENANT
from fleet.settings import JwtSettings

REQUIRED_CLAIMS: Final = ("exp", "iss", "aud", "sub")
ANY_KEY: Final = ""
"""What the key of a PEM file is called, which has no name."""


class KeyBook:
    """An issuer's public keys, by their names."""

    def __init__(self, keys: Mapping[str, Any], settings: JwtSettings) -> None:
        self._keys, self._settings = dict(keys), settings

    @property
    def names(self) -> list[str]:
        """The names of the keys."""
        return list(self._keys)

    def principal(self, text: str, now: datetime) -> Principal:
        """Return whom a token proves. Raises NotSignedInError."""
        name = self._key_name(text)
        claims = self._verified(text, self._keys[name])
        role = self._role(claims)
        tenant = claims.get(self._settings.tenant_claim, DEFAULT_TENANT)
        if not isinstance(tenant, str):
            raise NotSignedInError(
                f"The token's claim {self._settings.tenant_claim} is no text: it must name a tenant."
            )
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        whose = None if Permission.EVERY_TENANT in PERMISSIONS[role] else tenant
        return Principal(str(claims["sub"]), role, whose, name, expires_at)

    def is_valid(self, principal: Principal, now: datetime) -> bool:
        """Tell whether what proved somebody still does: it has not expired, and its key was not withdrawn."""
        leeway = timedelta(seconds=self._settings.leeway_s)
        expired = principal.expires_at is not None and now >= principal.expires_at + leeway
        return principal.token_id in self._keys and not expired

    def _key_name(self, text: str) -> str:
        try:
            name = jwt.get_unverified_header(text).get("kid", ANY_KEY)
        except jwt.InvalidTokenError:
            raise NotSignedInError("The token is no signed token (JWT): sign in anew.") from None
        if name in self._keys:
            return str(name)
        if len(self._keys) == 1 and (name == ANY_KEY or ANY_KEY in self._keys):
            return self.names[0]
        raise NotSignedInError("The token is signed by a key that is not known here: sign in anew.")

    def _verified(self, text: str, key: Any) -> dict[str, Any]:
        wanted = self._settings
        try:
            claims: dict[str, Any] = jwt.decode(
                text,
                key,
                algorithms=list(wanted.algorithms),
                issuer=wanted.issuer,
                audience=wanted.audience,
                leeway=wanted.leeway_s,
                options={"require": list(REQUIRED_CLAIMS)},
            )
        except jwt.ExpiredSignatureError:
            raise NotSignedInError("The token has expired: sign in anew.") from None
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
            raise NotSignedInError("The token is of another issuer, or for another audience.") from None
        except jwt.MissingRequiredClaimError as missing:
            raise NotSignedInError(f"The token has no claim {missing.claim}.") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise NotSignedInError("The token is not signed as it must be: sign in anew.") from None
        return claims

    def _role(self, claims: Mapping[str, Any]) -> Role:
        name = self._settings.role_claim
        try:
            return Role(str(claims.get(name)))
        except ValueError:
            roles = ", ".join(Role)
            raise NotSignedInError(f"The token's claim {name} names no role that is known here: {roles}.") from None


def key_file(settings: JwtSettings) -> WatchedFile[KeyBook]:
    """Return the file of public keys, as it is now and later."""
    sentences = Sentences(
        "put the issuer's public keys there, as a JWKS or as PEM, or correct auth.jwt.key_file.",
        "keep the keys that are in use.",
    )
    return WatchedFile(settings.absolute_key_file, lambda content: read_keys(content, settings), sentences)


def read_keys(content: bytes, settings: JwtSettings) -> KeyBook:
    """Read public keys: a JWKS (RFC 7517), or one key as PEM. Raises SettingsError where there is none."""
    text = content.decode(errors="replace").strip()
    if "PRIVATE KEY" in text:
        raise SettingsError("It holds a private key: give the public one alone.")
    if text.startswith("-----BEGIN PUBLIC KEY"):
        return KeyBook({ANY_KEY: text}, settings)
    try:
        found = jwt.PyJWKSet.from_dict(json.loads(text)).keys
    except (ValueError, TypeError, AttributeError, jwt.PyJWTError):
        raise SettingsError("It holds no public keys: write a JWKS, or one public key as PEM.") from None
    if any(key.key_type == "oct" for key in found):
        raise SettingsError("It holds a shared secret: give public keys alone.")
    return KeyBook({key.key_id or ANY_KEY: key for key in found}, settings)
