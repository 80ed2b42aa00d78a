"""The messages of `fleet.v2`: one JSON object each, told apart by `type`. The documentation is made from these types.

What a client sends is decoded strictly: a field that there is not is refused by its name.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Final, Literal, NamedTuple, Self, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fleet.errors import FleetError
from fleet.events.fields import MAX_VEHICLE_ID_CHARACTERS, TenantId, VehicleId, wire_name

SUBPROTOCOL: Final = "fleet.v2.json"
MAX_MESSAGE_BYTES: Final = 65_536
MAX_NAMES: Final = 1_000
MAX_INTERVAL_MS: Final = 60_000
_RAW_EVENT: Final = {"type": "object", "description": "a scored record, or of it the wanted fields"}

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_VEHICLE_ID_CHARACTERS)]
Names: TypeAlias = Annotated[tuple[Name, ...], Meta(max_length=MAX_NAMES)]
SubscriptionId: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=64, description="the client's name of the subscription")
]
CursorText: TypeAlias = Annotated[
    str, Meta(description="place in the log: what was sent before it is known; opaque to clients")
]
Mode: TypeAlias = Annotated[
    Literal["events", "latest"],
    Meta(description="every event; or of each vehicle the newest unsent one, and every anomaly"),
]
Longitude: TypeAlias = Annotated[float, Meta(ge=-180, le=180)]
Latitude: TypeAlias = Annotated[float, Meta(ge=-90, le=90)]
Viewport: TypeAlias = Annotated[
    tuple[Longitude, Latitude, Longitude, Latitude],
    Meta(description="west, south, east, north, in degrees; west may be larger than east, across the date line"),
]
IntervalMs: TypeAlias = Annotated[
    int, Meta(ge=0, le=MAX_INTERVAL_MS, description="least time from one frame of events to the next")
]
Item: TypeAlias = Annotated[msgspec.Raw, Meta(extra_json_schema=_RAW_EVENT)]
ListedEpisodeText: TypeAlias = Annotated[
    msgspec.Raw, Meta(extra_json_schema={"type": "object", "description": "an episode as its latest record has it"})
]
RecoveryReason: TypeAlias = Annotated[
    Literal["retention", "limit", "recreated"],
    Meta(
        description="why a cursor was not resumed: deleted from the log, further back than the gateway reads, or the "
        "topic was made anew"
    ),
]
ErrorCode: TypeAlias = Literal[
    "malformed", "bad_cursor", "unknown_subscription", "too_many_subscriptions", "unauthenticated", "forbidden",
    "log_unavailable",
]  # fmt: skip


class _Said(msgspec.Struct, tag_field="type", rename=wire_name):
    """What both sides' messages have in common."""


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=wire_name):
    """Which events a subscription is sent; what is given must hold together."""

    vehicles: Annotated[Names | None, Meta(description="of these vehicles alone")] = None
    anomalies: Annotated[bool, Meta(description="anomalies alone")] = False
    min_severity: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="at least so severe; an alarm begins at 0.5")
    ] = None
    causes: Annotated[Names | None, Meta(description="anomalies that are called one of these")] = None


class Auth(_Said, tag="auth", forbid_unknown_fields=True):
    """The first message of who needs a token; later ones renew it."""

    token: Annotated[str, Meta(max_length=16_384)]


class Subscribe(_Said, tag="subscribe", forbid_unknown_fields=True):
    """Begin a subscription."""

    id: SubscriptionId
    filter: Filter = Filter()
    viewport: Viewport | None = None
    fields: Annotated[
        Names | None, Meta(description="fields of an event that are sent; `vehicleId` and `source` always are")
    ] = None
    mode: Mode = "events"
    interval_ms: Annotated[IntervalMs | None, Meta(description="null: `gateway.batch_interval_ms`")] = None
    delta: Annotated[bool, Meta(description="send only what changed since the vehicle's last event")] = False
    snapshot: Annotated[bool, Meta(description="send each vehicle's latest event first")] = False
    resume: Annotated[CursorText | None, Meta(description="go on after this cursor")] = None


class Update(_Said, tag="update", forbid_unknown_fields=True):
    """Change what a subscription wants; what is left out stays. What no longer fits leaves, what newly fits comes."""

    id: SubscriptionId
    filter: Filter | UnsetType = UNSET
    viewport: Viewport | UnsetType | None = UNSET
    fields: Names | UnsetType | None = UNSET
    mode: Mode | UnsetType = UNSET
    interval_ms: IntervalMs | UnsetType | None = UNSET
    delta: bool | UnsetType = UNSET


class Unsubscribe(_Said, tag="unsubscribe", forbid_unknown_fields=True):
    """End a subscription."""

    id: SubscriptionId


class Ping(_Said, tag="ping", forbid_unknown_fields=True):
    """Ask for a heartbeat."""


ClientMessage: TypeAlias = Auth | Subscribe | Update | Unsubscribe | Ping


class Limits(msgspec.Struct, frozen=True, rename=wire_name):
    """What this gateway takes of one socket."""

    message_bytes: int
    messages_per_minute: int
    subscriptions: int
    resume_events: Annotated[int, Meta(description="further back than this is not resumed")]
    resume_age_s: float


class Welcome(_Said, tag="welcome"):
    """The gateway's first message to who is signed in, or need not be."""

    limits: Limits
    heartbeat_ms: int
    tenant: TenantId


class Subscribed(_Said, tag="subscribed"):
    """A subscription has begun: what follows it comes after `cursor`."""

    id: SubscriptionId
    recovered: Annotated[
        bool | None, Meta(description="whether everything since `resume` follows; null where nothing was to be resumed")
    ]
    reason: Annotated[RecoveryReason | None, Meta(description="why not")]
    cursor: CursorText


class Snapshot(_Said, tag="snapshot"):
    """A part of the latest events as they are at `cursor`, one of each vehicle."""

    id: SubscriptionId
    part: Annotated[int, Meta(description="from 0")]
    last: bool
    cursor: CursorText
    vehicles: list[Item]


class Events(_Said, tag="events"):
    """Events in the order of their partitions; with `delta`, some are a `Change`."""

    id: SubscriptionId
    cursor: CursorText
    items: list[Item]


class Change(msgspec.Struct, frozen=True, rename=wire_name):
    """An event of a vehicle as what changed since its last one that this subscription was sent."""

    vehicle_id: VehicleId
    changed: dict[str, msgspec.Raw]
    removed: Annotated[tuple[str, ...] | UnsetType, Meta(description="fields that the event has no more")] = UNSET


class Episodes(_Said, tag="episodes"):
    """Episodes that changed; the latest record of an `episodeId` counts."""

    id: SubscriptionId
    cursor: CursorText
    items: list[ListedEpisodeText]


class Leave(_Said, tag="leave"):
    """Vehicles whose newest event is no longer in the viewport or the filter."""

    id: SubscriptionId
    vehicles: list[VehicleId]


class Lost(_Said, tag="lost"):
    """Events of this subscription that were not sent, at the place where they are missing."""

    id: SubscriptionId
    count: Annotated[int | None, Meta(description="null where nobody can tell how many")]
    from_: CursorText
    to: CursorText
    reason: Literal["slow", "retention", "limit", "recreated"]


class PaceSaid(_Said, tag="pace"):
    """The subscription is sent otherwise than it asked, because it does not keep up; or as it asked again."""

    id: SubscriptionId
    mode: Mode
    interval_ms: int
    reason: Literal["slow", "as_asked"]


class Heartbeat(_Said, tag="heartbeat"):
    """The subscription has come to this cursor, whether or not anything fitted; one without an id only answers."""

    id: SubscriptionId | None
    cursor: CursorText
    lag_ms: Annotated[float, Meta(description="age of the oldest event that was not looked at for it yet")]


class Error(_Said, tag="error"):
    """A message was not followed."""

    id: SubscriptionId | None
    code: ErrorCode
    detail: Annotated[str, Meta(description="what was wrong, and what to change")]
    retryable: bool


class Goodbye(_Said, tag="goodbye"):
    """The gateway is about to close the socket."""

    code: int
    retry_after_ms: Annotated[int | None, Meta(description="connect again after this; null: not without a change")]


ServerMessage: TypeAlias = (
    Welcome | Subscribed | Snapshot | Events | Episodes | Leave | Lost | PaceSaid | Heartbeat | Error | Goodbye
)


CLIENT_MESSAGES: Final[tuple[type[msgspec.Struct], ...]] = get_args(ClientMessage)
SERVER_MESSAGES: Final[tuple[type[msgspec.Struct], ...]] = get_args(ServerMessage)


class CloseCode(IntEnum):
    """Why the gateway closes a socket."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Give a code its meaning."""
        close = int.__new__(cls, code)
        close._value_, close.meaning = code, meaning
        return close

    GOING_AWAY = 1001, "This gateway is shutting down."
    RESTART = 1012, "The gateway begins anew."
    FULL = 1013, "All places are taken, Kafka has not answered yet, or the connection took nothing for 30 s."
    MALFORMED = 4400, "A message or the query is none of this protocol."
    UNAUTHENTICATED = 4401, "The token is missing, wrong or has expired."
    FORBIDDEN = 4403, "The token is another tenant's."
    NO_AUTH_IN_TIME = 4408, "Nobody signed in within 5 s."
    TOO_LARGE = 4413, "A message has more than 64 KiB."
    RATE = 4429, "More than 120 messages came in a minute."


RETRIED_CLOSES: Final = frozenset(
    {CloseCode.GOING_AWAY, CloseCode.RESTART, CloseCode.FULL, CloseCode.RATE, CloseCode.NO_AUTH_IN_TIME}
)
"""After these a client connects again; the others need a change of what it sends."""


class Close(NamedTuple):
    """A close frame: code and sentence."""

    code: CloseCode
    reason: str


class MalformedMessageError(FleetError):
    """What a client sent is no message of this protocol."""


_decode: Callable[[str | bytes], ClientMessage] = msgspec.json.Decoder(ClientMessage).decode
_encode = msgspec.json.Encoder().encode


def read_message(text: str | bytes) -> ClientMessage:
    """Read a client's message. Raises MalformedMessageError with a sentence that names what is wrong."""
    try:
        return _decode(text)
    except msgspec.ValidationError as wrong:
        raise MalformedMessageError(f"The message does not fit fleet.v2: {wrong}.") from None
    except (ValueError, RecursionError):
        raise MalformedMessageError("The message is no JSON: send one JSON object in a text frame.") from None


def text_of(message: ServerMessage) -> str:
    """Lay a message out for the wire."""
    return _encode(message).decode()
