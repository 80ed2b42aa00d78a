"""Cursors: places in the log as clients carry them, signed so that only what a gateway gave out is taken back."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec

from fleet.errors import FleetError

Positions: TypeAlias = Mapping[int, int]
"""The next offset of each partition of the scored topic."""
_SIGNATURE_BYTES: Final = 16


class BadCursorError(FleetError):
    """A cursor that no gateway of this system gave out, or that lies in the future."""


class Cursor(NamedTuple):
    """A place in the log: the topic's id, the next offset per partition, and when a gateway had come to it."""

    epoch: str
    positions: Positions
    at_s: int  # Unix seconds


_Payload: TypeAlias = tuple[str, dict[int, int], int]
_decode = msgspec.msgpack.Decoder(_Payload).decode
_encode = msgspec.msgpack.Encoder().encode


class CursorKey:
    """Signs cursors and reads those signed by the same key: HMAC-SHA256, cut to 128 bits."""

    def __init__(self, secret: str, application_id: str) -> None:
        """Make the key from what all replicas share; without a `secret`, of the application's id alone."""
        self._key = hashlib.sha256(f"fleet.v2\0{application_id}\0{secret}".encode()).digest()

    def write(self, cursor: Cursor) -> str:
        """Lay a cursor out as the text that clients carry."""
        payload = _encode((cursor.epoch, dict(cursor.positions), cursor.at_s))
        return base64.urlsafe_b64encode(payload + self._sign(payload)).decode()

    def read(self, text: str) -> Cursor:
        """Read a cursor back. Raises BadCursorError where it is forged, damaged, or another system's."""
        try:
            signed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
            payload, signature = signed[:-_SIGNATURE_BYTES], signed[-_SIGNATURE_BYTES:]
            if not hmac.compare_digest(signature, self._sign(payload)):
                raise BadCursorError(_FOREIGN)
            return Cursor(*_decode(payload))
        except (binascii.Error, UnicodeEncodeError, msgspec.DecodeError):
            raise BadCursorError(_FOREIGN) from None

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_SIGNATURE_BYTES]


_FOREIGN: Final = "The cursor was not given out by this system: subscribe without `resume`."


def later(one: Positions, other: Positions) -> dict[int, int]:
    """Return the later position of each partition."""
    return {p: max(one.get(p, 0), other.get(p, 0)) for p in one.keys() | other.keys()}


def is_reached(wanted: Positions, positions: Positions) -> bool:
    """Tell whether every partition has come to where it is wanted."""
    return all(positions.get(partition, 0) >= offset for partition, offset in wanted.items())
