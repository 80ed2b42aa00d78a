"""A peer as a contestant: its program in a process of its own, ready when its group owns every partition.

Neighbours: `race` runs its laps; the program stands in one of the other modules here.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple, Self

from confluent_kafka.admin import AdminClient

from benchmarks.costs import Roles, tree
from fleet.errors import LocalServiceError
from fleet.kafka import OffsetRange, admin_client, bootstrap_servers
from fleet.settings import PROJECT_FOLDER
from launch import supervised

PEERS_PYTHON = PROJECT_FOLDER / ".venv-bench" / "bin" / "python"
START_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.2


class Peer(NamedTuple):
    """A program, and which share of the floor's events it is given: fewer where an event is dear."""

    name: str
    module: str
    share: float
    has_model: bool = True
    is_foreign: bool = True
    """Whether it runs in `.venv-bench`."""


PEERS = (
    Peer("Quix Streams, no model", "quix_app", 0.5, has_model=False),
    Peer("Quix Streams, call per event", "quix_app", 0.03),
    Peer("FastStream, batches", "faststream_app", 0.3),
    Peer("Ray Serve, call per event", "serve_app", 0.03, is_foreign=False),
)


class PeerProcess:
    """A peer; entering the context starts it, `until_ready` waits until it owns every partition."""

    def __init__(self, peer: Peer, models: Path, partitions: int, log: IO[bytes]) -> None:
        self.name = peer.name
        label = f"{peer.module}{'' if peer.has_model else '-no-model'}".replace("_", "-")
        self.telemetry, self.scored = f"{label}-telemetry", f"{label}-scored"
        self.group_id = f"benchmark-{label}"
        self.peer, self._models, self._partitions, self._log = peer, models, partitions, log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self.peer.is_foreign and not PEERS_PYTHON.exists():
            raise LocalServiceError("The peers are not installed (.venv-bench): `make bench` does it.")
        self._process = subprocess.Popen(
            [sys.executable, "-m", supervised.__name__, str(os.getpid()), *self._command()],
            env={**os.environ, "PYTHONPATH": str(PROJECT_FOLDER)},
            cwd=PROJECT_FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def announce(self, ranges: Mapping[int, OffsetRange]) -> None:
        """Need not be told: it follows its topic. Raises LocalServiceError when it has ended."""
        self._require_alive()

    def roles(self) -> Roles:
        """Return its processes."""
        return {"peer": tree(self._process.pid) if self._process else []}

    def _command(self) -> list[str]:
        python = str(PEERS_PYTHON) if self.peer.is_foreign else sys.executable
        options = {
            "bootstrap-servers": bootstrap_servers(),
            "telemetry": self.telemetry,
            "scored": self.scored,
            "group-id": self.group_id,
            **({"models": str(self._models)} if self.peer.has_model else {}),
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [python, "-m", f"benchmarks.peers.{self.peer.module}", *flags]

    def until_ready(self) -> None:
        """Wait until it owns every partition. Raises LocalServiceError when it ends, or takes too long."""
        admin, deadline_s = admin_client(), time.monotonic() + START_TIMEOUT_S
        while self._owned_partitions(admin) < self._partitions:
            self._require_alive()
            if time.monotonic() > deadline_s:
                raise LocalServiceError(f"{self.name} did not start within {START_TIMEOUT_S:.0f} s.")
            time.sleep(POLL_S)

    def _owned_partitions(self, admin: AdminClient) -> int:
        [answer] = admin.describe_consumer_groups([self.group_id], request_timeout=ANSWER_TIMEOUT_S).values()
        return sum(len(member.assignment.topic_partitions) for member in answer.result().members)

    def _require_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise LocalServiceError(f"{self.name} has ended: see its log in .fleet/bench-peers.log.")
