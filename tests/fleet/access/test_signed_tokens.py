"""Signed tokens prove somebody by the issuer's public keys, and by nothing that a token says of itself."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fleet.access.roles import Role
from fleet.access.signed_tokens import KeyBook, key_file, read_keys
from fleet.errors import NotSignedInError, SettingsError
from fleet.settings import AuthSettings, JwtSettings

SETTINGS = JwtSettings(issuer="https://id.example.org", audience="fleet")
CLAIMS = {"sub": "ana", "iss": SETTINGS.issuer, "aud": "fleet", "role": "operator", "tenant": "north"}
OLD, NEW, FOREIGN = (rsa.generate_private_key(public_exponent=65_537, key_size=2048) for _ in range(3))
CURVE = ec.generate_private_key(ec.SECP256R1())


def now() -> datetime:
    return datetime.now(UTC)


def jwk(key: Any, name: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.ECAlgorithm if key is CURVE else jwt.algorithms.RSAAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": name}


def pem(key: Any) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip


def book(**keys: Any) -> KeyBook:
    return read_keys(json.dumps({"keys": [jwk(key, name) for name, key in keys.items()]}).encode(), SETTINGS)


def token(
    key: Any = NEW, name: str | None = "new", algorithm: str = "RS256", seconds: float = 60, **claims: Any
) -> str:
    said = {**CLAIMS, "exp": time.time() + seconds, **claims}
    said = {claim: value for claim, value in said.items() if value is not None}
    return jwt.encode(said, key, algorithm, headers={"kid": name} if name else None)


def test_a_token_proves_its_holder_by_a_known_key() -> None:
    found = book(old=OLD, new=NEW).principal(token(), now())
    assert (found.name, found.role, found.tenant, found.token_id) == ("ana", Role.OPERATOR, "north", "new")
    assert found.expires_at is not None
    assert abs(found.expires_at - now() - timedelta(seconds=60)) < timedelta(seconds=30)


def test_tenants_are_named_by_a_claim_and_admins_have_none() -> None:
    keys = book(new=NEW)
    assert keys.principal(token(tenant=None), now()).tenant == "default"
    assert keys.principal(token(role="admin"), now()).tenant is None
    named = SETTINGS.model_copy(update={"tenant_claim": "org", "role_claim": "may"})
    elsewhere = read_keys(pem(NEW), named).principal(token(name=None, org="south", may="viewer"), now())
    assert (elsewhere.tenant, elsewhere.role) == ("south", Role.VIEWER)


def test_one_key_needs_no_name_and_curves_are_as_good() -> None:
    assert book(only=NEW).principal(token(name=None), now()).token_id == "only"
    assert read_keys(pem(NEW), SETTINGS).principal(token(), now()).token_id == ""
    assert book(curve=CURVE).principal(token(CURVE, "curve", "ES256"), now()).name == "ana"


def none_signed() -> str:
    parts = ({"alg": "none", "kid": "new"}, {**CLAIMS, "exp": time.time() + 60})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


def signed_with_the_public_key() -> str:
    """The classic attack: the public key, which everybody has, as the secret of an HMAC."""
    head = {"alg": "HS256", "kid": "new", "typ": "JWT"}
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (head, {**CLAIMS, "exp": time.time() + 60})
    ]
    mac = hmac.new(pem(NEW), b".".join(encoded), hashlib.sha256).digest()
    return b".".join([*encoded, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


WRONG = {
    "no token": (lambda: "fleet_0123", "no signed token"),
    "not signed": (none_signed, "not signed as it must be"),
    "signed with the public key": (signed_with_the_public_key, "not signed as it must be"),
    "another algorithm": (lambda: token(algorithm="RS512"), "not signed as it must be"),
    "a foreign key": (lambda: token(FOREIGN), "not signed as it must be"),
    "an unknown key": (lambda: token(FOREIGN, "foreign"), "a key that is not known"),
    "expired": (lambda: token(seconds=-31), "has expired"),
    "another issuer": (lambda: token(iss="https://elsewhere.example.org"), "another issuer"),
    "another audience": (lambda: token(aud="other"), "another audience"),
    "for ever": (lambda: token(exp=None), "no claim exp"),
    "nobody": (lambda: token(sub=None), "no claim sub"),
    "no role": (lambda: token(role=None), "names no role"),
    "another role": (lambda: token(role="root"), "names no role"),
    "a tenant that is no text": (lambda: token(tenant=7), "no text"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_token_that_proves_nobody_is_refused_with_why(wrong: str) -> None:
    made, said = WRONG[wrong]
    with pytest.raises(NotSignedInError, match=said):
        book(old=OLD, new=NEW).principal(made(), now())


def test_clocks_may_differ_a_little() -> None:
    assert book(new=NEW).principal(token(seconds=-20), now()).name == "ana"


def test_somebody_may_stay_until_the_token_expires_or_its_key_is_withdrawn() -> None:
    known = book(old=OLD, new=NEW)
    somebody = known.principal(token(OLD, "old"), now())
    assert known.is_valid(somebody, now())
    assert not known.is_valid(somebody, now() + timedelta(seconds=120))
    assert not book(new=NEW).is_valid(somebody, now())


def test_keys_are_read_again_when_the_file_changes(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"key_file": tmp_path / "jwks.json"})
    file = key_file(settings)
    with pytest.raises(SettingsError, match=r"auth\.jwt\.key_file"):
        file.read()
    for keys in ([jwk(OLD, "old")], [jwk(OLD, "old"), jwk(NEW, "new")], [jwk(NEW, "new")]):
        settings.key_file.write_text(json.dumps({"keys": keys}))
        assert file.read().names == [key["kid"] for key in keys]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no public keys"),
        (b'{"keys": []}', "no public keys"),
        (b'{"keys": 7}', "no public keys"),
        (b"-----BEGIN PRIVATE KEY-----", "a private key"),
        (json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "s"}]}).encode(), "a shared secret"),
    ],
)
def test_a_file_without_public_keys_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_keys(content, SETTINGS)


def test_settings_want_an_issuer_and_an_audience_and_no_shared_secret() -> None:
    with pytest.raises(ValueError, match=r"auth\.jwt\.issuer"):
        AuthSettings(mode="jwt")
    with pytest.raises(ValueError, match="algorithms"):
        JwtSettings(algorithms=("HS256",))
