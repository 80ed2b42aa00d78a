"""The whole system as a user starts it: `fleet run`, with its own ports, against the tests' broker."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import yaml
from websockets.sync.client import connect

from fleet import kafka as fleet_kafka
from fleet.kafka import Message, TopicPartition
from fleet.settings import Settings, read_settings
from simulator.local_kafka import LocalKafka, free_port

PATIENCE_S = 120.0


@dataclass
class RunningSystem:
    """A running `fleet run`, and what a user's program does with it."""

    url: str
    settings: Settings
    process: "subprocess.Popen[bytes]"
    log: Path
    _producer: Any = field(default_factory=lambda: fleet_kafka.telemetry_producer("end-to-end"))

    def produce(self, events: Sequence[dict[str, Any] | bytes | None], key: str | None = None) -> None:
        """Publish telemetry to the real topic: objects as JSON, bytes and None as they are."""
        for event in events:
            value = json.dumps(event).encode() if isinstance(event, dict) else event
            name = event["vehicleId"] if isinstance(event, dict) else key
            self._producer.produce(self.settings.kafka.topics.telemetry, value, name)
        assert self._producer.flush(30) == 0

    def get(self, path: str) -> Any:
        """GET a JSON resource."""
        with urllib.request.urlopen(f"{self.url}/{path.lstrip('/')}", timeout=15) as response:
            return json.load(response)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """POST JSON; returns the status and the answer, for refusals too."""
        request = urllib.request.Request(
            f"{self.url}/{path.lstrip('/')}",
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; fail with its name."""
        _until(condition, what)

    def websocket(self, query: str = "") -> Any:
        """Connect to the live feed."""
        return connect(self.url.replace("http", "ws", 1) + "/ws/telemetry" + query, max_size=2**24)

    def deaf_websocket(self, query: str = "") -> socket.socket:
        """Open the live feed and never read from it."""
        address = urlsplit(self.url)
        assert address.hostname
        assert address.port
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        deaf.connect((address.hostname, address.port))
        request = (
            f"GET /ws/telemetry{query} HTTP/1.1",
            f"Host: {address.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        deaf.sendall("\r\n".join((*request, "", "")).encode())
        assert deaf.recv(12) == b"HTTP/1.1 101"
        return deaf

    def read_topic(self, topic: str) -> list[Message]:
        """Read a topic to its end, as a read_committed reader sees it."""
        consumer = fleet_kafka.tail_consumer(self.settings.kafka, "end-to-end-reader")
        partitions = range(self.settings.kafka.partitions)
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
        waiting = [TopicPartition(topic, p) for p, end in ends.items() if end]
        found: list[Message] = []
        while any(p.offset < ends[p.partition] for p in consumer.position(waiting)):
            found += [m for m in consumer.consume(1000, 0.2) if m.error() is None]
        consumer.close()
        return found


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline_s:
            pytest.fail(f"waited {PATIENCE_S:g} s in vain for: {what}")
        time.sleep(0.05)


@pytest.fixture(scope="session")
def serve_config(project_folder: Path, models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's serve_config.yaml with a free port and the tests' model."""
    config = yaml.safe_load((project_folder / "serve_config.yaml").read_text())
    config["http_options"] = {"host": "127.0.0.1", "port": free_port()}
    arguments = config["applications"][0]["args"]
    arguments["model"] = {"folder": str(models_folder)}
    arguments["gateway"]["client_backlog_events"] = 5_000  # so that a deaf client fills it soon
    file = tmp_path_factory.mktemp("serve") / "serve_config.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture(scope="session")
def running_system(
    kafka: LocalKafka, serve_config: Path, project_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSystem]:
    """`fleet run` without a simulator, ready; stopped at the end as with Ctrl-C, which must leave nothing behind."""
    log = tmp_path_factory.mktemp("run") / "run.log"
    config = yaml.safe_load(serve_config.read_text())
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "commands", "run", "--vehicles", "0", "--config", str(serve_config)],
            cwd=project_folder,
            env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    _until(
        lambda: "Ctrl-C stops everything" in log.read_text() or process.poll() is not None,
        "the system to be ready",
    )
    assert process.poll() is None, log.read_text()
    port = config["http_options"]["port"]
    settings = read_settings(config["applications"][0]["args"])
    family = psutil.Process(process.pid).children(recursive=True)
    yield RunningSystem(f"http://127.0.0.1:{port}", settings, process, log)
    family += [p for p in psutil.Process(process.pid).children(recursive=True) if p not in family]
    process.send_signal(signal.SIGINT)
    process.wait(90)
    _, left_behind = psutil.wait_procs(family, timeout=10)
    assert not left_behind, f"processes left behind: {left_behind}\n{log.read_text()}"
    assert process.returncode == 0, log.read_text()
