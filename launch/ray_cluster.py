"""A Ray cluster of its own on this machine: a head, any number of workers, and Serve's REST interface.

Ports and folders are its own, so that several clusters may run beside one another. Every node stands under
`launch.supervised`: whatever is killed in it, nothing of it stays behind.

Neighbours: `faults.system` and `benchmarks.running_system` deploy the application here.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil

from fleet.errors import LocalServiceError
from fleet.settings import PROJECT_FOLDER
from launch import supervised
from launch.logs import end_of
from launch.ports import PROXY_PORTS, free_port
from launch.ray_interpreter import ray_interpreter
from simulator.local_kafka import HOST

START_TIMEOUT_S = 180.0  # on a machine that is busy
STOP_TIMEOUT_S = 60.0
CPUS_OF_A_NODE = 8  # reservations: the application's replicas want a tenth of one each
OBJECT_STORE_BYTES = 256 * 1024 * 1024
POLL_S = 0.25
APPLICATIONS, NODES = "/api/serve/applications/", "/api/v0/nodes"


class Node:
    """One node: `ray start` under a supervisor, and all processes below it."""

    def __init__(self, name: str, options: Mapping[str, object], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        ray = [str(ray_interpreter(log.parent)), "-m", "ray.scripts.scripts", "start", "--block", *_flags(options)]
        with log.open("ab") as output:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", supervised.__name__, str(os.getpid()), *ray],
                env=dict(environment),
                cwd=PROJECT_FOLDER,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,  # HAProxy's admin socket lets everybody in who reaches it
            )

    @property
    def has_ended(self) -> bool:
        """Whether Ray has ended there, of its own accord or not."""
        return self._supervisor.poll() is not None

    def processes(self) -> list[psutil.Process]:
        """Return what runs on this node, the supervisor left out."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._supervisor.pid).children(recursive=True)
        return []

    def kill(self) -> None:
        """End the raylet and its whole tree as a failing machine would, all at once (SIGKILL)."""
        below = sorted(self.processes(), key=lambda process: title(process) != "raylet")
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._supervisor.wait(STOP_TIMEOUT_S)

    def ask_to_end(self) -> None:
        """Send SIGTERM, as an operator's shutdown does."""
        self._supervisor.terminate()

    def wait(self) -> None:
        """Wait until nothing of it runs; what does not end in time is killed."""
        try:
            self._supervisor.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            below = self.processes()
            self._supervisor.kill()
            for process in below:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._supervisor.wait()


class RayCluster:
    """A head and `workers`; with workers, the head holds no replicas, as on a real cluster."""

    def __init__(self, folder: Path, environment: Mapping[str, str], workers: int = 0) -> None:
        self._folder, self._worker_count = folder, workers
        self._token = secrets.token_hex(32)
        # By its variable, which goes before every file: the token is this cluster's own.
        self._environment = {**environment, **_own_ports(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token}
        self._gcs_port, self._dashboard_port = free_port(), free_port()
        self._log = folder / "ray.log"
        self.head: Node | None = None
        self.workers: list[Node] = []
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def nodes(self) -> list[Node]:
        """The head, where there is one, and the workers."""
        return [*([self.head] if self.head else []), *self.workers]

    def start(self) -> None:
        """Start head and workers; returns when Serve's interface answers. Raises LocalServiceError.

        To be called from a thread that lives as long as the cluster: the kernel ends it with that thread.
        """
        # Another head stands on another machine: it finds no note that one runs already.
        (self._folder / "ray" / "ray_current_cluster").unlink(missing_ok=True)
        self.head = self._start_node(
            "head",
            {
                "head": True,
                "port": self._gcs_port,
                "dashboard-port": self._dashboard_port,
                "ray-client-server-port": free_port(),
                "num-cpus": 0 if self._worker_count else CPUS_OF_A_NODE,
                "temp-dir": self._folder / "ray",
            },
        )
        self._await_interface()
        self.complete()

    def complete(self) -> None:
        """Start the workers that are missing, as KubeRay does, and wait until all belong to the cluster.

        Some end by themselves because their head is gone. One starts after the other: two at once may choose the same
        ports, and one of them then fails. Raises LocalServiceError.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while (registered := self._nodes_alive() - 1) < self._worker_count:
            self.workers = [worker for worker in self.workers if not worker.has_ended]
            if len(self.workers) == registered:
                self._started += 1
                options = {"address": f"{HOST}:{self._gcs_port}", "num-cpus": CPUS_OF_A_NODE}
                self.workers.append(self._start_node(f"worker {self._started}", options))
            if time.monotonic() > deadline_s:
                raise LocalServiceError(
                    f"{registered} of {self._worker_count} workers joined within {START_TIMEOUT_S:.0f} s. "
                    f"{self._last_words()}"
                )
            time.sleep(POLL_S)

    def kill(self, worker: Node) -> None:
        """Kill a worker; it is no node of this cluster any more."""
        worker.kill()
        self.workers.remove(worker)

    def kill_head(self) -> None:
        """Kill the head; `start` brings another one, at the same address."""
        assert self.head is not None
        self.head.kill()
        self.head = None

    def stop(self) -> None:
        """End every node: workers first, then the head. Safe to call twice."""
        for node in reversed(self.nodes):
            node.ask_to_end()
        for node in reversed(self.nodes):
            node.wait()
        self.head, self.workers = None, []

    def processes(self) -> list[psutil.Process]:
        """Return what runs on all nodes."""
        return [process for node in self.nodes for process in node.processes()]

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Hand Serve a config, as `serve deploy` does. Raises LocalServiceError when Serve refuses it."""
        try:
            self._request("PUT", json.dumps(config).encode())
        except urllib.error.HTTPError as refusal:
            raise LocalServiceError(f"Serve refused the config: {refusal.read().decode(errors='replace')}") from None

    def status(self) -> dict[str, Any]:
        """Return Serve's status; empty while it does not answer."""
        with contextlib.suppress(OSError, ValueError):
            answer: dict[str, Any] = json.loads(self._request("GET"))
            return answer
        return {}

    def _start_node(self, name: str, options: Mapping[str, object]) -> Node:
        common = {
            "node-ip-address": HOST,
            "object-store-memory": OBJECT_STORE_BYTES,
            "dashboard-agent-listen-port": free_port(),
            "dashboard-agent-grpc-port": free_port(),
            "runtime-env-agent-port": free_port(),
            "metrics-export-port": free_port(),
            "disable-usage-stats": True,
            "include-log-monitor": "false",
            "log-style": "record",
        }
        return Node(name, {**common, **options}, self._environment, self._log)

    def _await_interface(self) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self.status():
            if self.head is None or self.head.has_ended:
                raise LocalServiceError(f"Ray ended while it started. {self._last_words()}")
            if time.monotonic() > deadline_s:
                raise LocalServiceError(f"Ray did not start within {START_TIMEOUT_S:.0f} s. {self._last_words()}")
            time.sleep(POLL_S)

    def _last_words(self) -> str:
        """Return the ends of what Ray has said: on its console, and of what its processes died of."""
        errors = sorted((self._folder / "ray" / "session_latest" / "logs").glob("*.err"))
        return "\n".join([end_of(self._log), *(end_of(log, lines=4) for log in errors if log.stat().st_size)])

    def _nodes_alive(self) -> int:
        """Count the nodes of the cluster, the head among them; 0 while Ray does not answer."""
        with contextlib.suppress(OSError, ValueError, LookupError):
            nodes = json.loads(self._request("GET", path=NODES))["data"]["result"]["result"]
            return sum(node["state"] == "ALIVE" for node in nodes)
        return 0

    def _request(self, method: str, body: bytes | None = None, path: str = APPLICATIONS) -> bytes:
        url = f"http://{HOST}:{self._dashboard_port}{path}"
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            content: bytes = response.read()
            return content


def title(process: psutil.Process) -> str:
    """Return a process's title: Ray writes the actor's class over the command line."""
    with contextlib.suppress(psutil.Error, IndexError):
        return Path(process.cmdline()[0]).name if process.name() == "raylet" else process.cmdline()[0]
    return ""


def signal_to(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal; a process that has just gone needs none."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _flags(options: Mapping[str, object]) -> list[str]:
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]


def _own_ports() -> dict[str, str]:
    """Give HAProxy ports of its own for what it tells of itself; the defaults would meet another cluster's."""
    return {name: str(free_port()) for name in PROXY_PORTS}
