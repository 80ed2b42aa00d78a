"""Which release a broker is of, as far as it tells: the newest `metadata.version` that it supports.

Kafka has no request for its version, and the client shows no features. So this asks by itself, with the one request
that a broker answers before any login (ApiVersions, https://kafka.apache.org/protocol#The_Messages_ApiVersions).
"""

import socket
import ssl
import struct
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import IO, Any, Final, NamedTuple

ANSWER_TIMEOUT_S: Final = 5.0
LARGEST_ANSWER_BYTES: Final = 1_048_576
# The newest metadata.version of Kafka's releases (MetadataVersion.java); patch releases cannot be told apart.
NEWEST_LEVELS: Final = {"3": 21, "4.0": 25, "4.1": 27, "4.2": 29, "4.3": 30, "4.4": 33}
UNSOUND_RELEASES: Final = ("4.3", "4.4")

_API_VERSIONS, _VERSION = 18, 3
_SUPPORTED_FEATURES_TAG = 0


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int


def unsound_brokers(brokers: Iterable[Address], config: Mapping[str, Any]) -> list[Address]:
    """Return the brokers that say they are of a release that can lose a transaction's end.

    `config` is the client's. A broker that does not answer, or does not say, is no reason to stop.
    """
    return [broker for broker in brokers if release_of(metadata_level(broker, config)) in UNSOUND_RELEASES]


def release_of(level: int | None) -> str | None:
    """Name the release whose newest `metadata.version` this is, or the one after it; None for one not known here."""
    if level is None:
        return None
    return next((release for release, newest in NEWEST_LEVELS.items() if level <= newest), None)


def metadata_level(broker: Address, config: Mapping[str, Any]) -> int | None:
    """Ask a broker for the newest `metadata.version` that it supports; None where it does not say."""
    try:
        with socket.create_connection(broker, ANSWER_TIMEOUT_S) as plain, _secured(plain, broker, config) as connection:
            connection.sendall(_request())
            with connection.makefile("rb") as answer:
                return supported_features(_body(answer)).get("metadata.version")
    except (OSError, ValueError, struct.error):
        return None


def _secured(plain: socket.socket, broker: Address, config: Mapping[str, Any]) -> socket.socket:
    if not str(config.get("security.protocol", "")).upper().endswith("SSL"):
        return plain
    context = ssl.create_default_context(cafile=config.get("ssl.ca.location"))
    context.check_hostname = config.get("ssl.endpoint.identification.algorithm") != "none"
    if certificate := config.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, config.get("ssl.key.location"), config.get("ssl.key.password"))
    return context.wrap_socket(plain, server_hostname=broker.host)


def _request() -> bytes:
    name, no_tags = b"fleet", b"\0"
    header = struct.pack(">hhih", _API_VERSIONS, _VERSION, 1, len(name)) + name + no_tags
    body = _compact(name) + _compact(b"1") + no_tags
    return struct.pack(">i", len(header) + len(body)) + header + body


def _compact(text: bytes) -> bytes:
    return bytes([len(text) + 1]) + text


def _body(answer: IO[bytes]) -> bytes:
    """Return an answer without its length and its correlation id. Raises ValueError for one that is no answer."""
    [size_bytes] = struct.unpack(">i", answer.read(4))
    if not 4 <= size_bytes <= LARGEST_ANSWER_BYTES:
        raise ValueError("no answer to ApiVersions")
    return answer.read(size_bytes)[4:]


def supported_features(body: bytes) -> dict[str, int]:
    """Read the newest level of each feature from the body of an answer. Raises ValueError or struct.error."""
    read = BytesIO(body)
    [error_code] = _numbers(read, ">h")
    if error_code:
        raise ValueError(f"ApiVersions: error {error_code}")
    for _ in range(_varint(read) - 1):
        _numbers(read, ">hhh")
        _skip_tags(read)
    _numbers(read, ">i")
    return dict(_features(dict(_tags(read)).get(_SUPPORTED_FEATURES_TAG, b"\1")))


def _features(field: bytes) -> Iterator[tuple[str, int]]:
    read = BytesIO(field)
    for _ in range(_varint(read) - 1):
        name = read.read(_varint(read) - 1).decode()
        _, newest = _numbers(read, ">hh")
        _skip_tags(read)
        yield name, newest


def _tags(read: BytesIO) -> Iterator[tuple[int, bytes]]:
    for _ in range(_varint(read)):
        tag, size_bytes = _varint(read), _varint(read)
        yield tag, read.read(size_bytes)


def _skip_tags(read: BytesIO) -> None:
    for _ in _tags(read):
        pass


def _numbers(read: BytesIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, read.read(struct.calcsize(layout)))


def _varint(read: BytesIO) -> int:
    """Read an unsigned number of seven bits a byte. Raises ValueError where there is none."""
    number = 0
    for shift in range(0, 35, 7):
        [byte] = _numbers(read, ">B")
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number
    raise ValueError("a number that does not end")
