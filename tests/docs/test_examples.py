"""Examples in the documentation are what they say: JSON, events, specifications, mappings, programs that run."""

import json
import time
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fleet import kafka as fleet_kafka
from fleet.detection.features import FeaturePlan
from fleet.detection.verdicts import severity
from fleet.errors import KafkaUnavailableError
from fleet.events.channels import VEHICLE_DATA, VERDICT_FIELDS, ChannelSpec, read_spec
from fleet.events.telemetry import TelemetryDecoder
from fleet.kafka import Message
from fleet.records.scored import decode_scored
from fleet.settings import KafkaSettings, TopicNames
from simulator.local_kafka import LocalKafka
from simulator.replay.mapping import read_mapping
from tests.docs.pages import Example, blocks

EVENT_FIELDS = {"vehicleId", "timestamp"}


def specs_of(page: Path, folder: Path) -> list[ChannelSpec]:
    """Read the channel specifications that a page shows."""
    shown = [block for block in blocks("toml") if block.page == page and "channels" in tomllib.loads(block.text)]
    return [read_spec(written(block, folder)) for block in shown]


def written(block: Example, folder: Path) -> str:
    path = folder / f"line_{block.line}.toml"
    path.write_text(block.text)
    return str(path)


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_json_and_events_are_read_as_events(block: Example, tmp_path: Path) -> None:
    value = json.loads(block.text)
    if not isinstance(value, dict) or not value.keys() >= EVENT_FIELDS:
        return
    if "reconstruction_error" in value:
        check_scored(value)
        return
    for spec in specs_of(block.page, tmp_path) or [VEHICLE_DATA]:
        decoded, rejects = TelemetryDecoder(spec).decode_block([block.text.encode()], 262_144)
        assert not rejects
        assert decoded.vehicle_ids == [value["vehicleId"]]
        assert set(value) - EVENT_FIELDS <= set(spec.field_names), "an example names no field that is unknown"


def check_scored(value: dict[str, Any]) -> None:
    scored = decode_scored(msgspec.json.encode(value))
    assert set(value) >= VERDICT_FIELDS - {"truth", "doubtful", "usualInterval", "stands"}, (
        "an example shows every field of the verdict"
    )
    assert scored.is_anomaly == (scored.reconstruction_error > scored.anomaly_threshold)
    assert scored.severity == pytest.approx(
        severity(np.array([scored.reconstruction_error]), scored.anomaly_threshold)[0], abs=0.005
    )
    assert set(value["contributions"]) <= set(FeaturePlan.of(VEHICLE_DATA).names)
    assert set(value["expected"]) <= set(value["contributions"])


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_specifications_and_mappings_are_read(block: Example, tmp_path: Path) -> None:
    shown = tomllib.loads(block.text)
    if "channels" in shown:
        assert read_spec(written(block, tmp_path)).name == shown["name"]
    elif "vehicle_columns" in shown:
        assert set(read_mapping(written(block, tmp_path)).fields) == set(shown["fields"])


@pytest.mark.parametrize("block", [block for block in blocks("python") if "kafka" in block.text], ids=str)
def test_programs_send_an_event_that_is_read_as_one(block: Example, kafka: LocalKafka) -> None:
    topics = TopicNames(**{name: f"docs-{block.line}-{topic}" for name, topic in TopicNames().model_dump().items()})
    settings = KafkaSettings(partitions=1, topics=topics)
    fleet_kafka.ensure_topics(settings)
    here = block.text.replace("localhost:9092", kafka.bootstrap_servers).replace(
        TopicNames().telemetry, topics.telemetry
    )

    exec(compile(here, str(block), "exec"), {})

    [message] = [message for batch in sent(settings) for message in batch]
    decoded, rejects = TelemetryDecoder().decode_block([message.value()], 262_144)
    assert not rejects
    assert [message.key()] == [vehicle_id.encode() for vehicle_id in decoded.vehicle_ids]


def sent(settings: KafkaSettings) -> list[list[Message]]:
    """Read what was sent; a topic that was made just now has no leader yet."""
    give_up_at_s = time.monotonic() + 30
    while True:
        try:
            return list(fleet_kafka.read_to_end(settings, settings.topics.telemetry, 0))
        except KafkaUnavailableError:
            assert time.monotonic() < give_up_at_s
