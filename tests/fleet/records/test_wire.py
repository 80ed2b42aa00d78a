"""The bytes on the wire, as readers outside know them. A change here is a breaking change."""

import numpy as np

from fleet.detection.episodes import EpisodeTracker
from fleet.detection.judged import JudgedBlock
from fleet.detection.silence import Silence
from fleet.detection.verdicts import Verdicts
from fleet.events.telemetry import Reject, TelemetryDecoder
from fleet.ingest.outcome import dead_letters, episode_records
from fleet.kafka import Message
from fleet.records.episode import encode_episode
from fleet.records.scored import Provenance, Standing, encode_results
from fleet.settings import KafkaSettings

SENT = [
    b'{"vehicleId":"8K0TIH","timestamp":1764533865.55,"speed":30.8,"roadType":"urban","tenantId":"t1",'
    b'"extra":{"a":[1,2]},"anomaly":false,"anomalyType":null}',
    b'{"vehicleId":"v\\u00e9","timestamp":"2025-11-30T20:17:45Z","speed":190}',
]
SCORED = [
    b'{"vehicleId":"8K0TIH","timestamp":1764533865.55,"speed":30.8,"roadType":"urban","tenantId":"t1",'
    b'"extra":{"a":[1,2]},"anomaly":false,"anomalyType":null,"is_anomaly":false,"reconstruction_error":0.5,'
    b'"severity":0.05,"contributions":{"speed_level":0.75,"speed_frozen":0.25},"warmingUp":true,"repeat":false,'
    b'"episodeId":null,"source":"2:7","appendedAt":100.25,"anomaly_threshold":1.0,"modelVersion":"m-1",'
    b'"ingestedAt":100.5,"scoredAt":100.75,"truth":{"anomaly":false,"anomalyType":null}}',
    b'{"vehicleId":"v\\u00e9","timestamp":"2025-11-30T20:17:45Z","speed":190,"anomaly":true,'
    b'"anomalyType":"overspeed","is_anomaly":true,"reconstruction_error":5.0,"severity":0.9,"contributions":{"speed_level":1.0},'
    b'"warmingUp":false,"repeat":true,"episodeId":"v:2:5","source":"2:8","appendedAt":100.375,'
    b'"stands":true,"expected":{"speed_level":[31.5,48.0,66.25]},'
    b'"anomaly_threshold":1.0,"modelVersion":"m-1","ingestedAt":100.5,"scoredAt":100.75}',
]
EPISODES = [
    b'{"episodeId":"v:3:10","vehicleId":"v","tenantId":"t","state":"open","openedAt":1000.5,"updatedAt":1000.5,'
    b'"closedAt":null,"cause":"overspeed","severity":0.9,"peakError":4.5,"events":1,"anomalousEvents":1,'
    b'"worst":["3:10"],"closedBy":null,"modelVersion":"m-1"}',
    b'{"episodeId":"v:3:10","vehicleId":"v","tenantId":"t","state":"closed","openedAt":1000.5,"updatedAt":1001.5,'
    b'"closedAt":1001.5,"cause":"overspeed","severity":0.9,"peakError":4.5,"events":2,"anomalousEvents":1,'
    b'"worst":["3:10"],"closedBy":"silence","modelVersion":"m-1"}',
]
SILENCE = (
    b'{"episodeId":"v:3:17","vehicleId":"v","tenantId":"t","state":"open","openedAt":1000.5,"updatedAt":1121.5,'
    b'"closedAt":null,"cause":"silent","severity":0.75,"peakError":0.0,"events":0,"anomalousEvents":0,'
    b'"worst":[],"closedBy":null,"modelVersion":"m-1","usualPause":2.0}'
)


def test_scored_records_keep_their_bytes() -> None:
    block, _ = TelemetryDecoder().decode_block(SENT, 100_000)
    verdicts = Verdicts(
        reconstruction_error=np.array([0.5, 5.0]),
        is_anomaly=np.array([False, True]),
        severity=np.array([0.05, 0.9]),
        causes=[None, "overspeed"],
        contributions=[{"speed_level": 0.75, "speed_frozen": 0.25}, {"speed_level": 1.0}],
        threshold=np.ones(2),
        expected=[None, {"speed_level": (31.5, 48.0, 66.25)}],
    )
    values = encode_results(
        block,
        verdicts,
        Provenance(2, np.array([7, 8]), np.array([100.25, 100.375]), 100.5, 100.75),
        Standing([True, False], [False, True], [False, False], [1.0, 1.0], [False, True]),
        model_version="m-1",
        episode_ids=[None, "v:2:5"],
    )
    assert values == SCORED


def test_episodes_keep_their_bytes() -> None:
    tracker, changes = EpisodeTracker(), []
    for offset in (10, 11, 12):
        changes += tracker.update(judged(offset))[1]
    records = episode_records("episodes", changes)
    assert [record.value for record in records] == EPISODES
    assert [record.key for record in records] == [b"v:3:10"] * 2
    assert [record.headers for record in records] == [[("source", b"3:10")], [("source", b"3:11")]]


def judged(offset: int) -> JudgedBlock:
    """One event of one vehicle: 10 is an alarm, 12 comes after a long silence."""
    is_alarm = offset == 10
    at_s = 990.5 + offset + (500 if offset == 12 else 0)
    return JudgedBlock(
        partition=3,
        offsets=np.array([offset]),
        vehicle_ids=["v"],
        tenant_ids=["t"],
        time_s=np.array([at_s]),
        appended_at_s=np.array([at_s]),
        counted=np.array([True]),
        is_anomaly=np.array([is_alarm]),
        severity=np.array([0.9 if is_alarm else 0.1]),
        reconstruction_error=np.array([4.5 if is_alarm else 0.2]),
        causes=["overspeed" if is_alarm else None],
        model_version="m-1",
        usual_interval_s=np.array([1.0]),
        doubtful=np.array([False]),
        stands=np.array([False]),
    )


def test_silences_keep_their_bytes() -> None:
    silence = Silence(0, "v", "t", 1000.5, 2.0, is_forgotten=False)
    assert encode_episode(silence.episode("3:17", 1121.5, "m-1")) == SILENCE


def test_dead_letters_keep_their_headers() -> None:
    messages = [Message("telemetry", 2, 41, b"k", value) for value in (b"{", b"x" * 70_000)]
    settings = KafkaSettings(max_message_bytes=65_536)
    rejects = [Reject(0, "not_json", "naïve"), Reject(1, "too_large", "70000 bytes")]
    assert [(record.key, record.value, record.headers) for record in dead_letters(settings, 2, messages, rejects)] == [
        (b"k", b"{", [("reason", b"not_json"), ("detail", "naïve".encode()), ("source", b"2:41")]),
        (
            b"k",
            None,
            [("reason", b"too_large"), ("detail", b"70000 bytes"), ("source", b"2:41"), ("omitted", b"70000")],
        ),
    ]
