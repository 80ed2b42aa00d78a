"""A gateway on a real uvicorn socket: real routes, view and feeds; events enter where the tail thread hands them over.

Kafka is away on purpose (a port that nobody listens on), and the scorer is a function with the contract of the real
one: that the real ones fit together is shown in tests/end_to_end.
"""

import asyncio
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import uvicorn
from websockets.sync.client import ClientConnection, connect

from deployments.web.app import build_app
from deployments.web.core import GatewayCore
from deployments.web.tail import Followed, Polled, ReplicaCounts
from fleet.delivery.feed.block import Place
from fleet.delivery.fleet_view import EpisodeRecord
from fleet.delivery.sender_view import SenderRecord
from fleet.detection.model.bundle import ModelBundle, write_bundle
from fleet.detection.verdicts import CONTRIBUTIONS, Scores
from fleet.events.fields import Expected
from fleet.kafka import Message
from fleet.records.episode import Episode
from fleet.records.sender import Finding, SenderReport, SignalHealth, encode_sender
from fleet.settings import AuthSettings, EventSettings, GatewaySettings, ScorerSettings, Settings
from tests.small_detector import PLAN, table

BATCH_INTERVAL_MS = 50
BACKLOG_EVENTS = 500
MAX_CLIENTS = 12
PUBLISHED_AT_S = 1764533870.0
REPLICAS = ReplicaCounts({"Gateway": 1, "Ingest": 2, "Scorer": 1}, in_order=True, deleting=False)
UNIT = 100.0  # what counts as one unit of every feature
EXPECTED: Expected = {"temperature_level": (40.0, 50.0, 60.5)}

POINT = {
    "latitude": -31.41,
    "longitude": -64.18,
    "speed": 30.8,
    "previousSpeed": 31.8,
    "acceleration": -1.0,
    "temperature": 77.6,
    "battery": 79.8,
    "fuelLevel": 99.5,
    "speedLimit": 60.0,
    "trafficLevel": 3,
}
ORIGIN_EVENT = {
    "vehicleId": "8K0TIH",
    "timestamp": 1764533865.5503478,
    **POINT,
    "weather": "rain",
    "roadType": "urban",
    "night": True,
    "anomaly": False,
    "anomalyType": None,
}


def small_bundle(folder: Path) -> ModelBundle:
    """A bundle whose network is run by nobody here."""
    return write_bundle(
        folder,
        save_network=lambda path: path.write_bytes(b"network"),
        plan=PLAN,
        threshold=1.0,
        calibration=table(),
        metrics={},
    )


class FunctionScorer:
    """Scores as the real scorer's contract has them: float32[N, K] in, `Scores` of N events out.

    An event's error is the largest squared distance of its judged features from 0, in units.
    """

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle, self.failure, self.calls = bundle, None, []

    async def __call__(self, version: str, features: np.ndarray) -> Scores:
        assert version == self.bundle.version
        assert features.dtype == np.float32
        assert features.shape[1] == len(PLAN.features)
        self.calls.append(len(features))
        if self.failure is not None:
            raise self.failure
        errors = np.nan_to_num(features[:, : self.bundle.judged] / np.float32(UNIT)) ** 2
        largest = np.argsort(-errors, axis=1)[:, :CONTRIBUTIONS]
        parts = np.take_along_axis(errors, largest, axis=1)
        shares = parts / np.maximum(errors.sum(axis=1, keepdims=True), 1e-9)
        aspect = PLAN.aspect_of[largest[:, 0]].astype(np.int16)
        expected = [EXPECTED if error > self.bundle.threshold else None for error in parts[:, 0].tolist()]
        return Scores(parts[:, 0], aspect, np.zeros(len(errors), bool), largest.astype(np.int16), shares, expected)


def sender_report(vehicle_id: str, *findings: Finding, tenant_id: str | None = None) -> SenderReport:
    return SenderReport(
        vehicle_id=vehicle_id,
        tenant_id=tenant_id,
        reported_at=PUBLISHED_AT_S,
        events=100,
        repeats=1,
        late=2,
        dead_letters=3,
        interval=1.0,
        interval_standing=None,
        delay=0.25,
        clock_behind=0.0,
        signals={"speed": SignalHealth(1.0, 0.1)},
        findings=list(findings),
    )


class LoopedLog:
    """Stands for the topic of actions: what is appended is read at once, by the gateway that has appended it."""

    def __init__(self, core: GatewayCore) -> None:
        self.core, self.failure = core, None
        self._ends: Counter[int] = Counter()

    def append(self, topic: str, partition: int, key: str, value: bytes) -> int:
        if self.failure is not None:
            raise self.failure
        offset, self._ends[partition] = self._ends[partition], self._ends[partition] + 1
        message = Message(topic, partition, offset, key.encode(), value)
        self.core.deliver(Polled([], [], [], actions=[message]))
        return offset


class RunningGateway:
    def __init__(self, core: GatewayCore, scorer: FunctionScorer, port: int) -> None:
        self.core, self.scorer, self.port = core, scorer, port
        self.action_log = core.actions._appender = LoopedLog(core)
        self._next_offset = 0
        self.next_place = 0  # offset in the only partition of the scored topic
        core.deliver(Polled([], [], [], followed=Followed("topic", {0: 0})))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def events(self, count: int, **fields: Any) -> list[bytes]:
        """Scored records with rising offsets, of vehicles V0 to V9; every fifth is an anomaly."""
        first, self._next_offset = self._next_offset, self._next_offset + count
        return [scored_event(n, **fields) for n in range(first, first + count)]

    def inject(
        self,
        values: Iterable[bytes | None],
        episodes: Iterable[tuple[bytes, bytes | None]] = (),
        published_at_s: float = PUBLISHED_AT_S,
        senders: Iterable[SenderReport] = (),
    ) -> None:
        """Hand records over as the tail thread does; returns when the event loop has taken them."""
        scored = list(values)
        first, self.next_place = self.next_place, self.next_place + len(scored)
        places = [Place(0, offset) for offset in range(first, self.next_place)]
        of_episodes = [EpisodeRecord(*record, published_at_s) for record in episodes]
        of_senders = [SenderRecord(report.vehicle_id.encode(), encode_sender(report)) for report in senders]
        self.core.deliver(Polled(scored, of_episodes, places, of_senders))

    @property
    def feed_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/v2"

    def connect(self, query: str = "", **options: Any) -> ClientConnection:
        return connect(
            f"ws://127.0.0.1:{self.port}/ws/telemetry{query}",
            **{"compression": None, "max_size": None, "close_timeout": 1, **options},
        )

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        assert self.core._loop is not None
        return self.core._loop

    def wait_for_feeds(self, count: int) -> None:
        wait_until(lambda: self.core.feed.clients == count, f"{count} clients of the feed")

    def wait_for_clients(self, count: int) -> None:
        wait_until(lambda: self.core.sockets.clients == count, f"{count} clients")


def scored_event(number: int, **fields: Any) -> bytes:
    now_s = time.time()
    event = {
        "vehicleId": f"V{number % 10}",
        "timestamp": now_s,
        "speed": 50.5,
        "reconstruction_error": 0.25,
        "anomaly_threshold": 1.0,
        "is_anomaly": number % 5 == 0,
        "anomaly": number % 5 == 0,
        "anomalyType": "overspeed" if number % 5 == 0 else None,
        "severity": 0.2,
        "contributions": {"speed_level": 0.7},
        "modelVersion": "v",
        "warmingUp": False,
        "repeat": False,
        "episodeId": None,
        "source": f"0:{number}",
        "appendedAt": now_s,
        "ingestedAt": now_s,
        "scoredAt": now_s,
        "n": number,
        **fields,
    }
    return json.dumps(event).encode()


def episode(vehicle: str, offset: int, **fields: Any) -> tuple[bytes, bytes]:
    """Key and value of a record as ingest writes them: open, unless `fields` say otherwise."""
    opened = Episode(
        episode_id=f"{vehicle}:0:{offset}",
        vehicle_id=vehicle,
        tenant_id=None,
        state="open",
        opened_at=1764533860.0,
        updated_at=1764533865.0,
        closed_at=None,
        cause="overspeed",
        severity=0.8,
        peak_error=4.5,
        events=6,
        anomalous_events=5,
        worst=[f"0:{offset}"],
        closed_by=None,
        model_version="v",
    )
    record = msgspec.structs.replace(opened, **fields)
    return record.episode_id.encode(), msgspec.json.encode(record)


def problem_of(answer: httpx.Response, status: int) -> dict:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()
    return problem


def wait_until(condition: Any, what: str, timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.005)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def running_gateway(
    folder: Path,
    ui_folder: Path,
    events: EventSettings | None = None,
    auth: AuthSettings | None = None,
    **bounds: Any,
) -> Iterator[RunningGateway]:
    bundle = small_bundle(folder / "models")
    scorer = FunctionScorer(bundle)
    settings = Settings(
        gateway=GatewaySettings(
            **{
                "batch_interval_ms": BATCH_INTERVAL_MS,
                "client_backlog_events": BACKLOG_EVENTS,
                "max_clients": MAX_CLIENTS,
                "max_request_events": 1_000,
                "max_request_bytes": 1_048_576,
                **bounds,
            }
        ),
        scorer=ScorerSettings(max_batch_rows=4_096),
        events=events or EventSettings(),
        auth=auth or AuthSettings(),
    )
    with environment("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{unused_port()}"):
        core = GatewayCore(settings, bundle, scorer, lambda: REPLICAS)
        with served(core, ui_folder) as port:
            yield RunningGateway(core, scorer, port)


@contextmanager
def served(core: GatewayCore, ui_folder: Path) -> Iterator[int]:
    """Serve a gateway on a port of its own."""
    port = unused_port()
    app = build_app(core, ui_folder)
    # Its own logging would close whatever handlers there are, and with TensorFlow's the stream that pytest captures.
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server listens", 60)
        yield port
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server stopped in a bounded time"
