"""The actions topic: what people do about episodes. Every record is one action, and none replaces another.

`deployments.web.episodes.actions` writes them, `fleet.delivery.handling` folds them in the log's order. An action names
the version of the handling that it was based on, so that of two that meet, all readers take the same one.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from fleet.events.fields import EpisodeId, ModelVersion, TenantId, UnixSeconds, VehicleId, wire_name

LONGEST_TEXT: Final = 2_000
LONGEST_NAME: Final = 100

AlarmLabel: TypeAlias = Literal["trueAlarm", "falseAlarm", "expected"]
Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=LONGEST_TEXT)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
ActionId: TypeAlias = Annotated[
    str,
    Meta(description="made by the client: sent again, it is the same action", min_length=1, max_length=LONGEST_NAME),
]
Version: TypeAlias = Annotated[int, Meta(description="how many actions there were before", ge=0)]


class _Do(msgspec.Struct, frozen=True, gc=False, rename=wire_name, forbid_unknown_fields=True, tag_field="kind"):
    """What somebody does about an episode."""


class Acknowledge(_Do, frozen=True, gc=False, tag="acknowledge"):
    """Somebody has seen it, and takes care."""


class Assign(_Do, frozen=True, gc=False, tag="assign"):
    """It is somebody's to deal with."""

    assignee: Annotated[Name | None, Meta(description="null takes it from everybody")]


class Label(_Do, frozen=True, gc=False, tag="label"):
    """Somebody says what the alarm was worth."""

    label: Annotated[AlarmLabel | None, Meta(description="null takes the label back")]


class Comment(_Do, frozen=True, gc=False, tag="comment"):
    """Somebody says something about it."""

    text: Text


class Snooze(_Do, frozen=True, gc=False, tag="snooze"):
    """Nobody is to be bothered with it for a while."""

    until: UnixSeconds


class Reopen(_Do, frozen=True, gc=False, tag="reopen"):
    """It is as new: not acknowledged, and not snoozed."""


Do: TypeAlias = Acknowledge | Assign | Label | Comment | Snooze | Reopen


class ActionRequest(msgspec.Struct, frozen=True, gc=False, rename=wire_name, forbid_unknown_fields=True):
    """What a client sends."""

    action_id: ActionId
    version: Version
    do: Do


class Action(msgspec.Struct, frozen=True, gc=False, rename=wire_name):
    """One record of the topic: who did what, when, about which episode and which of its events."""

    episode_id: EpisodeId
    action_id: ActionId
    version: Version
    by: Annotated[str, Meta(description="the name of whoever is signed in")]
    at: UnixSeconds
    do: Do
    vehicle_id: VehicleId
    tenant_id: TenantId
    model_version: ModelVersion
    opened_at: Annotated[float, Meta(description="Unix seconds: the first event that the action is about")]
    updated_at: Annotated[float, Meta(description="Unix seconds: the last event that was known")]


HandlingStatus: TypeAlias = Literal["new", "acknowledged", "snoozed"]


class HandlingSummary(msgspec.Struct, frozen=True, gc=False, rename=wire_name):
    """How far an episode is dealt with."""

    version: Annotated[int, Meta(description="how many actions count; the next one is based on it")]
    status: Annotated[HandlingStatus, Meta(description="a snooze that has passed is none")]
    assignee: Annotated[str | None, Meta(description="whose it is; null where it is nobody's")]
    label: Annotated[AlarmLabel | None, Meta(description="what the alarm was worth; null where nobody has said")]
    snoozed_until: Annotated[float | None, Meta(description="Unix seconds; null where it is not snoozed")]
    comments: Annotated[int, Meta(description="how many there are")]
    changed_by: Annotated[str, Meta(description="who did the last action")]
    changed_at: UnixSeconds


encode_action: Callable[[Action], bytes] = msgspec.json.Encoder().encode
decode_action: Callable[[bytes], Action] = msgspec.json.Decoder(Action).decode
