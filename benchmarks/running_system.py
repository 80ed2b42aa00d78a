"""The product as a contestant: a Ray cluster of its own with the application of serve_config.yaml on top.

Replicas are fixed: scaling up in the middle of a lap would measure the start of replicas. The telemetry topic keeps
the times that it is given, so that its verdicts are the floor's.

Neighbours: `launch.ray_cluster` starts Ray. Unlike in `faults.system`, nothing stands between application and Kafka.
"""

import contextlib
import json
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import psutil

from benchmarks.costs import Roles
from fleet.errors import LocalServiceError
from fleet.kafka import OffsetRange
from fleet.settings import PROJECT_FOLDER, Settings, TopicNames, read_settings
from launch.ray_cluster import RayCluster, title
from launch.ray_environment import ray_environment
from launch.serve_config import Config, arguments_of, deployments_of, read_serve_config
from simulator.local_kafka import HOST, free_port

READY_TIMEOUT_S = 240.0  # generous: on a full machine a start takes several times as long as on an idle one
POLL_S = 0.2
ROLES = {"Ingest": "ingest", "Scorer": "scorer", "Gateway": "gateway"}
LOGS_KEPT = PROJECT_FOLDER / ".fleet" / "bench"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Shape:
    """What of serve_config.yaml a benchmark varies; `label` sets its topics and groups apart on the same Kafka."""

    label: str = "system"
    title: str = ""
    """What it is called in tables, where that is not its label."""
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    ingest: int = 1
    scorers: int = 1
    partitions: int = 6
    ray: tuple[tuple[str, str], ...] = ()
    """Variables for Ray, in place of the product's."""


class RunningSystem:
    """The application, running; leaving the context ends every process of it. Kafka is the environment's."""

    def __init__(self, models: Path, shape: Shape, say: Say) -> None:
        self.shape = shape
        self.name = shape.title or shape.label
        self.config = _config(models, shape)
        topics = self.settings.kafka.topics
        self.telemetry, self.scored = topics.telemetry, topics.scored
        self.group_id = self.settings.kafka.group_id
        self._say = say
        self._folder = Path(tempfile.mkdtemp(prefix="fleet-bench-"))
        self._cluster = RayCluster(
            self._folder, {**ray_environment(), **dict(shape.ray), "PYTHONPATH": str(PROJECT_FOLDER)}
        )

    def __enter__(self) -> Self:
        began_s = time.monotonic()
        try:
            self._cluster.start()
            self._cluster.deploy(self.config)
            self._until_ready(began_s + READY_TIMEOUT_S)
        except BaseException:
            self._keep_logs()
            self.__exit__()
            raise
        self._say(f"  the system is ready after {time.monotonic() - began_s:.0f} s")
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def settings(self) -> Settings:
        """The application's settings."""
        return read_settings(arguments_of(self.config))

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.config['http_options']['port']}"

    def pipeline(self) -> dict[str, Any]:
        """Return what the page's `/v1/pipeline` says."""
        with urllib.request.urlopen(self.url + "/v1/pipeline", timeout=5) as response:
            answer: dict[str, Any] = json.loads(response.read())
            return answer

    def announce(self, ranges: Mapping[int, OffsetRange]) -> None:
        """Need not be told: it follows its topic."""

    def roles(self) -> Roles:
        """Return its processes; whatever is not a replica of ours is `ray`: controller, raylet, proxies, agents."""
        found: dict[str, list[psutil.Process]] = {role: [] for role in (*ROLES.values(), "ray")}
        for process in self._cluster.processes():
            found[_role(title(process))].append(process)
        return found

    def _until_ready(self, deadline_s: float) -> None:
        """Wait until the application answers that it scores, and has all its replicas."""
        while not self._is_ready():
            application = self._application()
            if application.get("status") == "DEPLOY_FAILED" or time.monotonic() > deadline_s:
                reason = application.get("message", "").strip().rsplit("\n", 1)[-1]
                raise LocalServiceError(f"The application is not ready: {application.get('status')} {reason}")
            time.sleep(POLL_S)

    def _is_ready(self) -> bool:
        wanted = {"Ingest": self.shape.ingest, "Scorer": self.shape.scorers, "Gateway": 1}
        running = {
            name: sum(replica["state"] == "RUNNING" for replica in deployment["replicas"])
            for name, deployment in self._application().get("deployments", {}).items()
        }
        if any(running.get(name, 0) < replicas for name, replicas in wanted.items()):
            return False
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url + "/health", timeout=5):
            return True
        return False

    def _application(self) -> dict[str, Any]:
        application: dict[str, Any] = self._cluster.status().get("applications", {}).get("fleet", {})
        return application

    def _keep_logs(self) -> None:
        shutil.rmtree(LOGS_KEPT, ignore_errors=True)
        with contextlib.suppress(OSError):  # what never started has no logs
            shutil.copytree(self._folder / "ray" / "session_latest" / "logs" / "serve", LOGS_KEPT)
        self._say(f"  its logs are kept in {LOGS_KEPT.relative_to(PROJECT_FOLDER)}")


def _config(models: Path, shape: Shape) -> Config:
    """Return the repository's serve_config.yaml with a free port, on loopback, and a fixed number of replicas."""
    config = read_serve_config()
    config["http_options"] = {"host": HOST, "port": free_port()}
    arguments = arguments_of(config)
    arguments["model"] = {"folder": str(models)}
    topics = {field: f"{shape.label}-{name}" for field, name in TopicNames().model_dump().items()}
    arguments["kafka"] |= {"partitions": shape.partitions, "application_id": shape.label, "topics": topics}
    arguments["ingest"]["delivery"] = shape.delivery
    for name, replicas in (("Ingest", shape.ingest), ("Scorer", shape.scorers)):
        for deployment in deployments_of(config, (name,)):
            deployment["autoscaling_config"] |= {"min_replicas": replicas, "max_replicas": replicas}
    return json.loads(json.dumps(config))  # type: ignore[no-any-return]


def _role(process_title: str) -> str:
    """Read the role off Ray's title, say `ray::ServeReplica:fleet:Scorer.handle_request`."""
    deployment = process_title.rpartition(":")[2].split(".")[0]
    return ROLES.get(deployment, "ray") if "ServeReplica" in process_title else "ray"
