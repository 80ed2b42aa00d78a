"""The real system, started for the faults: Kafka, the link to it, a Ray cluster, and the application on top.

The system's own processes reach Kafka through the link alone; the suite's own clients go straight to the broker, so
that a cut link hides nothing from the books.

Neighbours: `launch.ray_cluster` and `network` are its parts, `trial` runs cases on it.
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import psutil

from faults.network import KafkaLink
from fleet.detection.model.bundle import read_bundle, set_current_version
from fleet.errors import LocalServiceError
from fleet.settings import PROJECT_FOLDER, Settings, read_settings
from launch.ports import free_port
from launch.ray_cluster import RayCluster, title
from launch.ray_environment import ray_environment
from launch.serve_config import Config, arguments_of, deployments_of, read_serve_config
from simulator.local_kafka import HOST, LocalKafka, ProxyPorts

READY_TIMEOUT_S = 240.0
LOGS_KEPT = PROJECT_FOLDER / ".fleet" / "faults"
POLL_S = 0.2
HISTORY_EVENTS = 10_000
VEHICLE_IDLE_S = 120.0
SESSION_TIMEOUT_S = 3.0  # brokers allow less than 6 s only when told to: ours are
APPLICATION = "fleet"
BOOTSTRAP_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"
INGEST, SCORER, GATEWAY, CONTROLLER = "Ingest", "Scorer", "Gateway", "ServeController"
ROLES = (INGEST, SCORER, GATEWAY, CONTROLLER)
FEWEST = {INGEST: 2, SCORER: 2, GATEWAY: 1}

Say = Callable[[str], None]


class System:
    """A running system; leaving the context ends every process of it. `folder` holds its logs."""

    def __init__(self, say: Say, models: Path, workers: int = 0) -> None:
        """Plan a system: on one node, or on a head and `workers`; it gets a copy of the current one of `models`."""
        self._say = say
        self.config = system_config()
        self._models = models
        read_bundle(self._models)  # its error says what to do
        self.folder = Path(tempfile.mkdtemp(prefix="fleet-faults-"))
        arguments_of(self.config)["model"] = {"folder": str(self.models)}
        self._parts = contextlib.ExitStack()
        self._kept_logs: Path | None = None
        self._behind_link = ProxyPorts(broker=free_port(), advertised=free_port())
        self.kafka = LocalKafka(self.folder / "kafka", free_port(), proxy=self._behind_link)
        self.link = KafkaLink(self._behind_link.broker, self._behind_link.advertised)
        self.cluster = RayCluster(self.folder, self._environment(), workers)

    def __enter__(self) -> Self:
        began_s = time.monotonic()
        with contextlib.ExitStack() as parts:
            parts.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._copy_model()
            parts.callback(self._keep_logs)
            parts.enter_context(self.kafka)
            parts.enter_context(_kafka_variable(self.kafka.bootstrap_servers))
            parts.enter_context(self.link)
            parts.enter_context(self.cluster)
            self.keep_logs("start")
            self.start()
            self._kept_logs = None
            self._parts = parts.pop_all()
        self._say(f"The system is ready after {time.monotonic() - began_s:.0f} s; its logs: {self.folder}")
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    @property
    def settings(self) -> Settings:
        """The application's settings, as last deployed."""
        return read_settings(arguments_of(self.config))

    @property
    def models(self) -> Path:
        """The folder of bundles that the application follows."""
        return self.folder / "models"

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.config['http_options']['port']}"

    def start(self) -> None:
        """Start the cluster and the application, and wait until it scores. Raises LocalServiceError."""
        self.cluster.start()
        self.cluster.deploy(self.config)
        self.until_ready()

    def deploy(self, change: Callable[[Config], None]) -> None:
        """Deploy a changed config; returns when Serve has taken it, not when it is carried out."""
        config = deepcopy(self.config)
        change(config)
        self.cluster.deploy(config)
        self.config = config

    def processes(self, role: str) -> list[psutil.Process]:
        """Return the living processes of a role, the longest-living first."""
        return sorted(self.processes_by_role().get(role, []), key=_created_at_s)

    def processes_by_role(self) -> dict[str, list[psutil.Process]]:
        """Return the living processes of the application and its controller."""
        found: dict[str, list[psutil.Process]] = {}
        for process in self.cluster.processes():
            if (role := _role(title(process))) in ROLES:
                found.setdefault(role, []).append(process)
        return found

    def owner_of(self, port: int, role: str) -> psutil.Process:
        """Return the process of a role that has a connection from this local port. Raises LocalServiceError."""
        for process in self.processes(role):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(c.laddr and c.laddr.port == port for c in process.net_connections("tcp")):
                    return process
        raise LocalServiceError(f"No {role} process has a connection from port {port}.")

    def is_deployed(self) -> bool:
        """Whether the last config is carried out: Serve says so, and everything is healthy."""
        status, _ = self._status()
        return status == "RUNNING" and self.is_healthy()

    def pipeline(self) -> dict[str, Any]:
        """Return what the page's `/v1/pipeline` says; empty while it does not answer."""
        with contextlib.suppress(ValueError):
            answer: dict[str, Any] = json.loads(self._ask("/v1/pipeline"))
            return answer
        return {}

    def is_healthy(self) -> bool:
        """Whether every deployment has at least the replicas it starts with, and the page's health check agrees."""
        running = self.running_replicas()
        return all(running.get(role, 0) >= fewest for role, fewest in FEWEST.items()) and bool(self._ask("/health"))

    def running_replicas(self) -> dict[str, int]:
        """Return how many replicas of each deployment run: Serve says so, and it is no corpse that it has yet to find.

        Empty while Serve does not answer.
        """
        return {
            name: sum(replica["state"] == "RUNNING" and _is_alive(replica["pid"]) for replica in replicas)
            for name, replicas in self._replicas().items()
        }

    def replicas(self) -> dict[str, int]:
        """Return how many replicas of each deployment there are, those that start or stop among them."""
        return {name: len(replicas) for name, replicas in self._replicas().items()}

    def _replicas(self) -> dict[str, list[dict[str, Any]]]:
        deployments = self._application().get("deployments", {})
        return {name: deployment["replicas"] for name, deployment in deployments.items()}

    def _application(self) -> dict[str, Any]:
        """Return what Serve says of the application; empty while it does not answer."""
        application: dict[str, Any] = self.cluster.status().get("applications", {}).get(APPLICATION, {})
        return application

    def until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until everything is healthy. Raises LocalServiceError with Serve's own words when it is not in time."""
        deadline_s = time.monotonic() + timeout_s
        while not self.is_healthy():
            status, reason = self._status()
            if status == "DEPLOY_FAILED" or time.monotonic() > deadline_s:
                raise LocalServiceError(f"The application is not healthy within {timeout_s:.0f} s: {status} {reason}")
            time.sleep(POLL_S)

    def _status(self) -> tuple[str, str]:
        """Return what Serve says of the application, and the last line of why."""
        application = self._application()
        return application.get("status", "unknown"), application.get("message", "").strip().rsplit("\n", 1)[-1]

    def keep_logs(self, name: str) -> Path:
        """Keep the logs when the system ends, in a folder of this name below `LOGS_KEPT`; returns where."""
        self._kept_logs = LOGS_KEPT / name
        return self._kept_logs

    def _copy_model(self) -> None:
        """Give the system a models folder of its own, so that a case may spoil it."""
        bundle = read_bundle(self._models)
        shutil.copytree(bundle.folder, self.models / bundle.version)
        set_current_version(self.models, bundle.version)

    def _keep_logs(self) -> None:
        if self._kept_logs is not None:
            shutil.rmtree(self._kept_logs, ignore_errors=True)
            with contextlib.suppress(OSError):  # what never started has no logs
                shutil.copytree(self.folder / "ray" / "session_latest" / "logs" / "serve", self._kept_logs)
            with contextlib.suppress(OSError):
                self._kept_logs.mkdir(parents=True, exist_ok=True)
                rays = (self.folder / "ray" / "session_latest" / "logs").glob("[!w]*.*")  # not each worker's own
                for log in (self.kafka.log_file, self.folder / "ray.log", *filter(Path.is_file, rays)):
                    shutil.copy(log, self._kept_logs)

    def _ask(self, path: str) -> bytes:
        """Return what the page answers; nothing where it refuses, or does not answer."""
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url + path, timeout=5) as response:
            answer: bytes = response.read()
            return answer
        return b""

    def _environment(self) -> dict[str, str]:
        return {
            **ray_environment(),
            BOOTSTRAP_VARIABLE: f"{HOST}:{self._behind_link.advertised}",
            "PYTHONPATH": str(PROJECT_FOLDER),
        }


def system_config() -> Config:
    """Return the repository's serve_config.yaml with a free port, on loopback, and two of what is killed."""
    config = read_serve_config()
    config["http_options"] = {"host": HOST, "port": free_port()}
    config["proxy_location"] = "HeadOnly"  # all nodes share this machine's ports
    # Full within seconds: a gateway that is still filling its history has no level of memory to come back to.
    arguments_of(config)["gateway"]["history_events"] = HISTORY_EVENTS
    # Each case has vehicles of its own. Those of earlier ones are forgotten as parked ones are, only sooner: a case's
    # seconds must not depend on how many cases went before it.
    arguments_of(config)["ingest"]["vehicle_idle_s"] = VEHICLE_IDLE_S
    arguments_of(config)["ingest"]["session_timeout_s"] = SESSION_TIMEOUT_S
    for deployment in deployments_of(config, (INGEST, SCORER)):
        deployment["autoscaling_config"]["min_replicas"] = FEWEST[deployment["name"]]
    return config


@contextlib.contextmanager
def _kafka_variable(bootstrap_servers: str) -> Any:
    """Let this process's own clients find the broker."""
    before = os.environ.get(BOOTSTRAP_VARIABLE)
    os.environ[BOOTSTRAP_VARIABLE] = bootstrap_servers
    try:
        yield
    finally:
        if before is None:
            del os.environ[BOOTSTRAP_VARIABLE]
        else:
            os.environ[BOOTSTRAP_VARIABLE] = before


def _role(process_title: str) -> str:
    """Return what Ray's title says: `ray::ServeController`, `ray::ServeReplica:fleet:Scorer.handle_request`."""
    return process_title.split("::")[-1].removeprefix(f"ServeReplica:{APPLICATION}:").split(".")[0]


def _is_alive(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _created_at_s(process: psutil.Process) -> float:
    try:
        created_s: float = process.create_time()
    except psutil.NoSuchProcess:
        return float("inf")
    return created_s
