"""The AsyncAPI 3 document: the topics and the live feed, with messages from the types that are on the wire."""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from deployments.web.access.rules import FEED_PATH
from deployments.web.answers import refer
from deployments.web.schemas import event_schemas, schemas_of
from deployments.web.sockets import FeedQuery
from fleet import kafka
from fleet.delivery.feed.messages import CLIENT_MESSAGES, SERVER_MESSAGES, SUBPROTOCOL, Change
from fleet.events.channels import ChannelSpec
from fleet.records.action import Action
from fleet.records.dead_letter import DeadLetterHeaders, RedriveHeaders
from fleet.records.episode import Episode
from fleet.records.record import NoHeaders, RecordHeaders
from fleet.records.sender import SenderReport
from fleet.records.state import StateHeaders
from fleet.settings import Settings

LIVE_FEED_PATH: Final = "/ws/telemetry"
_BYTES: Final = "application/octet-stream"
_SENDERS_BYTES: Final = {"description": "the sender's own bytes; nothing where they were too large to come along"}
_STATE_BYTES: Final = {"description": "part of a compressed block that the next owner of the partition puts together"}


class Topic(NamedTuple):
    """What is told of a topic; the names of topics come from the settings."""

    channel: str
    action: Literal["receive", "send"]
    message: str
    description: str
    key: str
    headers: type[msgspec.Struct]
    payload: dict[str, Any]
    content_type: str = "application/json"


TOPICS: Final[Sequence[Topic]] = (
    Topic(
        "telemetry",
        "receive",
        "TelemetryEvent",
        "What vehicles send. A vehicle's events stand in one partition, in the order in which they happened.",
        "the vehicle; a record without it, or with another key, is scored and counted",
        RedriveHeaders,
        refer("TelemetryEvent"),
    ),
    Topic(
        "scored",
        "send",
        "ScoredRecord",
        "Every event as it came, with its verdict, in the partition number and the order of its source.",
        "the vehicle",
        RecordHeaders,
        refer("ScoredRecord"),
    ),
    Topic(
        "episodes",
        "send",
        "Episode",
        "Stretches of anomalous behaviour; the latest record of a key is the episode as it is. "
        "A record without a value removes it. The header names its latest event.",
        "the episode",
        RecordHeaders,
        refer("Episode"),
    ),
    Topic(
        "actions",
        "send",
        "Action",
        "What people do about episodes, an action a record; none replaces another. Of two that are based on the same "
        "version of an episode's handling, the first counts.",
        "the episode, and something that is used once",
        NoHeaders,
        refer("Action"),
    ),
    Topic(
        "senders",
        "send",
        "SenderReport",
        "What has been learnt of each vehicle's sender; the latest record of a key is what is known. It comes every "
        "5 minutes (`ingest.sender_report_s`) while the vehicle is heard.",
        "the vehicle",
        RecordHeaders,
        refer("SenderReport"),
    ),
    Topic(
        "dlq",
        "send",
        "DeadLetter",
        "What cannot be read as an event, in the partition number of its source.",
        "the record's own key",
        DeadLetterHeaders,
        _SENDERS_BYTES,
        _BYTES,
    ),
    Topic(
        "state",
        "send",
        "State",
        "What is remembered of a partition's vehicles, for the member that owns the partition next. Internal.",
        "`partition/chunk`",
        StateHeaders,
        _STATE_BYTES,
        _BYTES,
    ),
)
LIVE_FEED: Final = (
    "Every scored record as it arrives, one JSON object in a text frame; with `batch=true` JSON arrays of them. "
    "A client that reads too slowly loses the oldest events. What a client sends is not read."
)

FEED: Final = (
    f"The protocol fleet.v2, subprotocol `{SUBPROTOCOL}`: one JSON object with a `type` in each text frame. A client "
    "subscribes with filter, viewport, fields, mode and cursor, and is told where events are missing."
)


def asyncapi_document(settings: Settings, spec: ChannelSpec) -> dict[str, Any]:
    """Build the document of a system with these settings that serves a model of this specification."""
    headers = {topic.headers for topic in TOPICS}
    of_feed = [kind.__name__ for kind in (*CLIENT_MESSAGES, *SERVER_MESSAGES)]
    others = [Episode, Action, SenderReport, *sorted(headers, key=lambda kind: kind.__name__), FeedQuery]
    schemas = {**event_schemas(spec), **schemas_of([*others, *CLIENT_MESSAGES, *SERVER_MESSAGES, Change])}
    del schemas["Point"]
    query = schemas.pop("FeedQuery")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Fleet anomaly platform",
            "version": "1",
            "description": "Every telemetry event of a fleet, scored as it comes in: its topics and its live feed.",
        },
        "defaultContentType": "application/json",
        "channels": {
            **{topic.channel: _topic_channel(topic, settings) for topic in TOPICS},
            "live": _socket_channel(LIVE_FEED_PATH, LIVE_FEED, ("LiveEvent", "LiveEvents"), query),
            "feed": _socket_channel(FEED_PATH, FEED, of_feed),
        },
        "operations": {
            **{f"{topic.action}_{topic.channel}": _operation(topic.action, topic.channel) for topic in TOPICS},
            "send_live": _operation("send", "live"),
            "receive_feed": _operation("receive", "feed", CLIENT_MESSAGES),
            "send_feed": _operation("send", "feed", SERVER_MESSAGES),
        },
        "components": {"schemas": schemas, "messages": _messages()},
    }


def _topic_channel(topic: Topic, settings: Settings) -> dict[str, Any]:
    name: str = getattr(settings.kafka.topics, topic.channel)
    wanted = kafka.wanted_topics(settings.kafka)[name]
    configuration: dict[str, Any] = {
        "cleanup.policy": wanted.config["cleanup.policy"].split(","),
        "max.message.bytes": int(wanted.config["max.message.bytes"]),
    }
    if "retention.ms" in wanted.config:
        configuration["retention.ms"] = int(wanted.config["retention.ms"])
    binding = {
        "partitions": wanted.num_partitions,
        "replicas": wanted.replication_factor,
        "topicConfiguration": configuration,
        "bindingVersion": "0.5.0",
    }
    return {
        "address": name,
        "description": topic.description,
        "messages": {topic.message: {"$ref": f"#/components/messages/{topic.message}"}},
        "bindings": {"kafka": binding},
    }


def _socket_channel(
    address: str, description: str, messages: Sequence[str], query: dict[str, Any] | None = None
) -> dict[str, Any]:
    binding: dict[str, Any] = {"method": "GET", "bindingVersion": "0.1.0"}
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": binding if query is None else {**binding, "query": query}},
    }


def _operation(action: str, channel: str, messages: Sequence[type[msgspec.Struct]] = ()) -> dict[str, Any]:
    operation = {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}
    if not messages:
        return operation
    return {**operation, "messages": [{"$ref": f"#/channels/{channel}/messages/{kind.__name__}"} for kind in messages]}


def _messages() -> dict[str, Any]:
    live = {
        "LiveEvent": {"summary": "One event", "payload": refer("ScoredRecord")},
        "LiveEvents": {"summary": "Events", "payload": {"type": "array", "items": refer("ScoredRecord")}},
    }
    of_topics = {
        topic.message: {
            "contentType": topic.content_type,
            "headers": refer(topic.headers.__name__),
            "payload": topic.payload,
            "bindings": {
                "kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": "0.5.0"},
            },
        }
        for topic in TOPICS
    }
    of_feed = {
        kind.__name__: {"summary": str(kind.__doc__), "payload": refer(kind.__name__)}
        for kind in (*CLIENT_MESSAGES, *SERVER_MESSAGES)
    }
    return {**of_topics, **live, **of_feed}
