"""One event's way through the real system: Kafka in; verdict out on Kafka, WebSocket and REST."""

import json
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import create_connection as connection
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from commands.run import ray_token
from fleet.detection.model.bundle import ModelBundle, read_bundle, set_current_version, write_bundle
from tests.calm_drive import calm_drive

pytestmark = pytest.mark.whole_system

ORIGIN_EVENT = {
    "vehicleId": "8K0TIH",
    "timestamp": 1764533865.5503478,
    "latitude": -31.413947457841243,
    "longitude": -64.1875766703414,
    "speed": 30.76833372095486,
    "previousSpeed": 39.896813877021906,
    "acceleration": -9.128480156067045,
    "temperature": 77.64902713313586,
    "battery": 79.83259027687475,
    "fuelLevel": 99.51234711683932,
    "weather": "rain",
    "roadType": "urban",
    "speedLimit": 60.0,
    "night": True,
    "trafficLevel": 3,
    "anomaly": False,
    "anomalyType": None,
}
POINT = {
    name: ORIGIN_EVENT[name]
    for name in (
        "latitude longitude speed previousSpeed acceleration temperature battery fuelLevel speedLimit trafficLevel"
    ).split()
}


@pytest.fixture
def vehicle() -> str:
    return f"car-{uuid.uuid4().hex[:8]}"


def receive(socket: Any, wanted: Callable[[dict[str, Any]], bool], count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        frame = json.loads(socket.recv(timeout=60))
        found += [event for event in (frame if isinstance(frame, list) else [frame]) if wanted(event)]
    return found


def test_an_event_comes_out_on_kafka_and_on_a_websocket(running_system: Any, vehicle: str) -> None:
    with running_system.websocket() as socket:
        running_system.produce([{**ORIGIN_EVENT, "vehicleId": vehicle, "timestamp": time.time(), "custom": {"a": 1}}])
        [live] = receive(socket, lambda e: e["vehicleId"] == vehicle, 1)
    topic = running_system.settings.kafka.topics.scored
    [message] = [m for m in running_system.read_topic(topic) if m.key() == vehicle.encode()]
    assert json.loads(message.value()) == live
    assert live["custom"] == {"a": 1}
    assert live["truth"] == {"anomaly": False, "anomalyType": None}
    assert live["appendedAt"] <= live["ingestedAt"] + 0.01 <= live["scoredAt"] + 0.02
    assert dict(message.headers())["source"].decode() == live["source"]
    assert live["modelVersion"] == running_system.get("v1/pipeline")["modelVersion"]
    assert running_system.get(f"v1/vehicles/{vehicle}")["latest"] == live


def test_who_connects_and_is_silent_goes_and_a_quiet_websocket_stays(running_system: Any) -> None:
    address = urlsplit(running_system.url)
    with ExitStack() as ending, running_system.websocket("?vehicleId=nobody") as quiet:
        strangers = [ending.enter_context(connection((address.hostname, address.port))) for _ in range(60)]
        for half, stranger in enumerate(strangers):
            stranger.settimeout(120)
            stranger.sendall(b"GET / HTTP/1.1\r\nHost: a" if half % 2 else b"")
        answers = [stranger.recv(4_096) for stranger in strangers]
        assert all(not answer or b" 408 " in answer for answer in answers)
        assert quiet.ping().wait(20)
        assert quiet.state is State.OPEN


def test_a_fault_is_called_an_anomaly_with_its_cause(running_system: Any, vehicle: str) -> None:
    with running_system.websocket(f"?vehicleId={vehicle}&anomalies=true") as socket:
        running_system.produce(calm_drive(vehicle, 15, range(10, 15), speed=170))
        [event, *_] = receive(socket, lambda e: True, 1)
    assert event["vehicleId"] == vehicle
    assert (event["is_anomaly"], event["anomaly"], event["anomalyType"]) == (True, True, "overspeed")
    assert event["reconstruction_error"] > event["anomaly_threshold"]
    assert 0.5 < event["severity"] <= 1
    assert 1 <= len(event["contributions"]) <= 3


def test_filtered_and_batched_clients_see_the_same_events(running_system: Any, vehicle: str) -> None:
    with running_system.websocket(f"?vehicleId={vehicle}") as one, running_system.websocket("?batch=true") as batched:
        running_system.produce([*calm_drive(vehicle, 20), *calm_drive(f"{vehicle}-other", 20)])
        single = receive(one, lambda _: True, 20)
        batch = receive(batched, lambda e: e["vehicleId"] == vehicle, 20)
    assert single == batch
    assert [event["sequence"] for event in single] == list(range(20))


def test_a_client_that_does_not_read_loses_its_oldest_and_disturbs_nobody(running_system: Any, vehicle: str) -> None:
    """Through every hop: the push-back of one socket reaches the gateway, and only its own backlog."""
    events, each = 60, 1_000
    padding = "x" * 600
    deaf = running_system.deaf_websocket("?batch=true")
    try:
        with running_system.websocket("?batch=true") as reading:
            for batch in range(events):
                running_system.produce(calm_drive(vehicle, each, batch=batch, padding=padding))
                heard = receive(reading, lambda e: e["vehicleId"] == vehicle, each)
                assert [(e["batch"], e["sequence"]) for e in heard] == [(batch, s) for s in range(each)]
                if running_system.get("v1/pipeline")["dropped"]:
                    break
            else:
                pytest.fail(f"nothing was dropped in {events * each:,} events")
    finally:
        deaf.close()


def test_a_fault_becomes_one_episode_that_ends_with_recovery(running_system: Any, vehicle: str) -> None:
    calm, faulty = 40, 12
    events = calm_drive(vehicle, calm + faulty + 160, range(calm, calm + faulty), speed=170)
    for event in events:
        event["tenantId"] = "north"
    with running_system.websocket(f"?vehicleId={vehicle}") as socket:
        running_system.produce(events)
        heard = receive(socket, lambda _: True, len(events))

    def known() -> list[dict[str, Any]]:
        return list(running_system.get(f"v1/episodes?vehicleId={vehicle}")["episodes"])

    running_system.until(lambda: [e["state"] for e in known()] == ["closed"], "the episode to close")
    [episode] = known()
    assert (episode["closedBy"], episode["cause"], episode["tenantId"]) == ("recovery", "overspeed", "north")
    assert events[calm]["timestamp"] <= episode["openedAt"] <= events[calm + faulty - 1]["timestamp"]
    belonging = [e for e in heard if e["episodeId"]]
    assert {e["episodeId"] for e in belonging} == {episode["episodeId"]} == {f"{vehicle}:{belonging[0]['source']}"}
    assert [e["sequence"] for e in belonging] == list(range(belonging[0]["sequence"], belonging[-1]["sequence"] + 1))
    assert belonging[-1]["timestamp"] == episode["closedAt"]
    assert set(episode["worst"]) <= {e["source"] for e in heard if e["is_anomaly"]}
    topic = running_system.settings.kafka.topics.episodes
    records = [m for m in running_system.read_topic(topic) if m.key() == episode["episodeId"].encode()]
    assert {**json.loads(records[-1].value()), "publishedAt": records[-1].timestamp()[1] / 1000} == episode
    assert {str(m.partition()) for m in records} == {belonging[0]["source"].split(":")[0]}


def test_bad_records_go_to_the_dlq_and_their_neighbours_are_scored(running_system: Any, vehicle: str) -> None:
    good = {"vehicleId": vehicle, "timestamp": time.time(), "speed": 50}
    bad: dict[str, bytes | None] = {
        "not_utf8": b"\xff\xfe{",
        "not_json": b'{"vehicleId": "v", "timest',
        "not_an_object": b"[]",
        "not_finite": b'{"vehicleId":"v","timestamp":1,"speed":1e999}',
        "wrong_type": b'{"vehicleId":"v","timestamp":1,"speed":"fast"}',
        "missing_field": b'{"vehicleId":"v"}',
        "impossible_position": b'{"vehicleId":"v","timestamp":1,"latitude":200,"longitude":0}',
        "bad_timestamp": b'{"vehicleId":"v","timestamp":"never","speed":1}',
        "empty": None,
    }
    more = {"not_json": b'{"a":' * 50_000, "not_finite": b'{"vehicleId":"v","timestamp":1,"speed":NaN}', "empty": b""}
    odd = [{**good, "temperature": 900}, {**good, "fuelLevel": -5}, {**good, "speed": 400}, {**good, "new": [1]}]
    with running_system.websocket(f"?vehicleId={vehicle}") as socket:
        for number, value in enumerate([*bad.values(), *more.values()]):
            running_system.produce([value, {**good, "n": number, "timestamp": good["timestamp"] + number}], key=vehicle)
        running_system.produce([{**e, "timestamp": good["timestamp"] + 100 + i} for i, e in enumerate(odd)])
        assert len(receive(socket, lambda _: True, 16)) == 16
    topic = running_system.settings.kafka.topics.dlq
    dead = [m for m in running_system.read_topic(topic) if m.key() == vehicle.encode()]
    found = [(dict(m.headers())["reason"].decode(), m.value()) for m in dead]
    assert found == [*bad.items(), *more.items()]


def test_predict_answers_as_the_origin_system_did(running_system: Any) -> None:
    status, answer = running_system.post("predict", POINT)
    assert status == 200
    assert answer["input"] == POINT
    assert answer["is_anomaly"] == (answer["reconstruction_error"] > answer["anomaly_threshold"])
    assert set(answer) == {"input", "reconstruction_error", "anomaly_threshold", "is_anomaly"}
    status, answer = running_system.post("predict", {**POINT, "speed": 180, "previousSpeed": 180})
    assert (status, answer["is_anomaly"]) == (200, True)


@pytest.mark.parametrize(
    ("body", "named"),
    [(b"{", "JSON"), ({**POINT, "speed": "fast"}, "speed"), ({k: POINT[k] for k in list(POINT)[1:]}, "latitude")],
    ids=["broken", "type", "missing"],
)
def test_predict_refuses_bad_input_with_a_sentence(running_system: Any, body: Any, named: str) -> None:
    status, problem = running_system.post("predict", body)
    assert 400 <= status < 500
    assert named in problem["detail"]


def test_score_judges_many_events_in_order(running_system: Any, vehicle: str) -> None:
    events = calm_drive(vehicle, 33, range(30, 33), speed=190)
    status, answer = running_system.post("v1/score", {"events": events})
    assert status == 200
    [verdicts] = [value for value in answer.values() if isinstance(value, list)]
    assert len(verdicts) == 33
    assert verdicts[-1]["is_anomaly"]
    assert not any(v["is_anomaly"] for v in verdicts[1:30])
    status, problem = running_system.post("v1/score", {"events": [*events, {"vehicleId": "x"}]})
    assert status == 422
    assert "33" in problem["detail"]


class ScoredDrive:
    """One vehicle's drive, published bit by bit and heard on its socket: which models scored it."""

    def __init__(self, running_system: Any, vehicle: str, socket: Any) -> None:
        self._system, self._vehicle, self._socket = running_system, vehicle, socket
        self._sequence = 0
        self.versions: Counter[str] = Counter()

    def is_served_by(self, version: str) -> bool:
        """Publish a little and hear which models scored it: each event once, in order."""
        self._system.produce(calm_drive(self._vehicle, 20, first=self._sequence))
        heard = receive(self._socket, lambda _: True, 20)
        assert [event["sequence"] for event in heard] == list(range(self._sequence, self._sequence + 20))
        self._sequence += 20
        self.versions.update(event["modelVersion"] for event in heard)
        return {event["modelVersion"] for event in heard} == {version} == {self._system.get("health")["modelVersion"]}


def write_variant(folder: Path, of: ModelBundle, save_network: Callable[[Path], Any], threshold: float) -> ModelBundle:
    return write_bundle(
        folder,
        save_network=save_network,
        plan=of.plan,
        threshold=threshold,
        calibration=of.calibration,
        metrics=of.metrics,
    )


def test_models_are_swapped_refused_and_rolled_back_under_load(
    running_system: Any, vehicle: str, models_folder: Path, project_folder: Path
) -> None:
    first, log = read_bundle(models_folder), project_folder / ".fleet" / "serve.log"
    with running_system.websocket(f"?vehicleId={vehicle}") as socket:
        drive = ScoredDrive(running_system, vehicle, socket)
        running_system.until(lambda: drive.is_served_by(first.version), "the first model to serve")
        second = write_variant(
            models_folder, first, lambda path: shutil.copyfile(first.network_path, path), first.threshold + 0.5
        )
        running_system.until(lambda: drive.is_served_by(second.version), "the new model to serve")
        # The broken one's checksum is right, its content is not.
        broken = write_variant(models_folder, first, lambda path: path.write_bytes(b"no network"), first.threshold)
        refused = f"model_refused: {broken.network_path}"
        running_system.until(lambda: log.read_text().count(refused) == 3, "the broken model's refusal, by all three")
        assert drive.is_served_by(second.version)
        set_current_version(models_folder, first.version)
        running_system.until(lambda: drive.is_served_by(first.version), "the first model to serve again")
    assert broken.version not in drive.versions


def test_the_pipelines_books_balance(running_system: Any, vehicle: str) -> None:
    running_system.produce([*calm_drive(vehicle, 50), {"vehicleId": vehicle}])
    topics = running_system.settings.kafka.topics

    def settled() -> bool:
        pipeline = running_system.get("v1/pipeline")
        published = [len(running_system.read_topic(topic)) for topic in (topics.scored, topics.dlq)]
        return pipeline["lag"] == 0 and published == [pipeline["scored"], pipeline["deadLettered"]]

    running_system.until(settled, "the ledger to say what the topics hold")
    pipeline = running_system.get("v1/pipeline")
    assert pipeline["scored"] >= 50
    assert pipeline["deadLettered"] >= 1
    assert pipeline["read"] == pipeline["scored"] + pipeline["deadLettered"]
    assert pipeline["inFlight"] == 0
    assert len(pipeline["partitions"]) == 6
    assert running_system.get("health")["status"] == "ok"


def test_a_message_is_refused_while_it_comes_in(running_system: Any) -> None:
    """It is never finished, so nothing but the server before the application can refuse it."""

    def unfinished() -> Iterator[str]:
        yield from ("x" * 8_192 for _ in range(100))
        running_system.until(lambda: socket.state is not State.OPEN, "the message to be refused")
        yield "x"

    with running_system.websocket() as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.send(unfinished())
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_what_the_parts_write_is_for_their_user_alone(running_system: Any) -> None:
    """Another user who reached HAProxy's admin socket could stop the service."""
    [admin] = {
        Path(connection.laddr)
        for process in psutil.Process(running_system.process.pid).children(recursive=True)
        if process.name() == "haproxy"
        for connection in process.net_connections("unix")
        if connection.laddr and "admin" in Path(str(connection.laddr)).name
    }
    assert [folder for folder in admin.parents if folder.stat().st_mode & 0o077 == 0]
    assert ray_token().stat().st_mode & 0o077 == 0
