"""The senders topic: what has been learnt of each vehicle's sender, as its latest record has it.

`fleet.detection.senders` makes the reports, `fleet.ingest` publishes them under the vehicle's id, and `fleet.delivery`
reads them. The topic is compacted.
"""

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from fleet.events.fields import IN_0_TO_1, TenantId, UnixSeconds, VehicleId, wire_name

FindingKind: TypeAlias = Literal["unit", "absent", "clock", "delay", "repeats", "deadLetters"]
Seconds: TypeAlias = Annotated[float | None, Meta(description="seconds; null while it is not known")]
Count: TypeAlias = Annotated[int, Meta(extra_json_schema={"minimum": 0})]


class SignalHealth(msgspec.Struct, frozen=True, gc=False, rename=wire_name):
    """What a sender says of one signal."""

    sent: Annotated[float, Meta(description="share of its events that carry it", extra_json_schema=IN_0_TO_1)]
    resolution: Annotated[
        float | None, Meta(description="the smallest difference between its values, in its unit; null where not known")
    ]


class Finding(msgspec.Struct, frozen=True, gc=False, rename=wire_name):
    """What is odd about a sender."""

    kind: Annotated[FindingKind, Meta(description="what kind of oddity it is")]
    signal: Annotated[str | None, Meta(description="of which signal; null where it is of none")]
    detail: Annotated[str, Meta(description="what was seen, in a sentence")]


class SenderReport(msgspec.Struct, frozen=True, gc=False, rename=wire_name):
    """What has been learnt of one vehicle's sender. Counts begin with the vehicle's history."""

    vehicle_id: VehicleId
    tenant_id: TenantId
    reported_at: UnixSeconds
    events: Annotated[Count, Meta(description="events that were read")]
    repeats: Annotated[Count, Meta(description="of these, sent before")]
    late: Annotated[Count, Meta(description="of these, measured before others that came first")]
    dead_letters: Annotated[Count, Meta(description="records under its key that could not be read")]
    interval: Annotated[Seconds, Meta(description="usual seconds from event to event while it moves; null = unknown")]
    interval_standing: Annotated[Seconds, Meta(description="likewise while it stands")]
    delay: Annotated[Seconds, Meta(description="usual seconds from an event to its append; null = unknown")]
    clock_behind: Annotated[
        float, Meta(description="by how many seconds its clock was set wrong, ahead is negative; 0 = right")
    ]
    signals: Annotated[dict[str, SignalHealth], Meta(description="of each signal that is remembered")]
    findings: Annotated[list[Finding], Meta(description="what is odd")]


class SenderSummary(msgspec.Struct, gc=False, rename=wire_name):
    """What must be known of a report to find it; the rest stays in its bytes."""

    vehicle_id: str
    findings: list[Finding]
    tenant_id: TenantId = None


encode_sender: Callable[[SenderReport], bytes] = msgspec.json.Encoder().encode
decode_summary: Callable[[bytes], SenderSummary] = msgspec.json.Decoder(SenderSummary).decode
