"""When the fault suite calls its system whole: Serve's word, no corpses, and the page's own health check."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from faults import system
from faults.system import (
    CONTROLLER,
    FEWEST,
    GATEWAY,
    INGEST,
    SCORER,
    System,
    system_config,
)
from fleet.errors import LocalServiceError
from fleet.settings import read_settings
from launch.serve_config import arguments_of, deployments_of
from tests.small_detector import made_up_bundle

OWN = os.getpid()
Replicas = dict[str, list[tuple[str, int | None]]]
WHOLE: Replicas = {name: [("RUNNING", OWN)] * fewest for name, fewest in FEWEST.items()}


class Serve:
    """In the place of a cluster: says what Serve would."""

    def __init__(self, replicas: Replicas, status: str = "RUNNING", message: str = "") -> None:
        self._replicas, self._status, self._message = replicas, status, message

    def status(self) -> dict[str, Any]:
        deployments = {
            name: {"replicas": [{"state": state, "pid": pid} for state, pid in held]}
            for name, held in self._replicas.items()
        }
        return {
            "applications": {"fleet": {"status": self._status, "message": self._message, "deployments": deployments}}
        }


class Silent:
    def status(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """A system that was never started, whose page answers."""
    monkeypatch.setattr(system, "read_bundle", lambda _: made_up_bundle())
    planned = System(lambda _: None, tmp_path)
    monkeypatch.setattr(planned, "_ask", lambda path: b"{}")
    yield planned
    planned.folder.rmdir()


def said(planned: System, cluster: object) -> System:
    planned.cluster = cluster  # type: ignore[assignment]
    return planned


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_system_with_the_fewest_replicas_and_a_healthy_page_is_whole(planned: System) -> None:
    assert said(planned, Serve(WHOLE)).is_healthy()
    assert planned.is_deployed()


@pytest.mark.parametrize("role", FEWEST)
@pytest.mark.parametrize("state", ["STARTING", "STOPPING", "dead", "without a pid", "not there"])
def test_a_replica_that_does_not_run_is_missed(planned: System, role: str, state: str) -> None:
    others = WHOLE[role][1:]
    missed: dict[str, list[tuple[str, int | None]]] = {
        "dead": [("RUNNING", dead_pid())],
        "without a pid": [("RUNNING", None)],
        "not there": [],
    }
    replicas = {**WHOLE, role: [*others, *missed.get(state, [(state, OWN)])]}
    assert not said(planned, Serve(replicas)).is_healthy()
    assert not planned.is_deployed()


def test_a_zombie_does_not_run(planned: System) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    psutil.wait_procs([], timeout=0)
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    replicas = {**WHOLE, GATEWAY: [("RUNNING", process.pid)]}
    assert not said(planned, Serve(replicas)).is_healthy()
    process.wait()


def test_a_page_that_is_not_healthy_is_no_whole_system(planned: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "_ask", lambda path: b"")
    assert not said(planned, Serve(WHOLE)).is_healthy()


def test_a_serve_that_does_not_answer_is_no_whole_system(planned: System) -> None:
    assert not said(planned, Silent()).is_healthy()
    assert planned.running_replicas() == {}


@pytest.mark.parametrize("status", ["DEPLOYING", "UNHEALTHY", "DEPLOY_FAILED", "DELETING"])
def test_a_config_that_is_not_carried_out_is_not_deployed(planned: System, status: str) -> None:
    assert not said(planned, Serve(WHOLE, status)).is_deployed()


def test_a_system_that_does_not_become_whole_says_what_serve_said(planned: System) -> None:
    with pytest.raises(LocalServiceError, match=r"not healthy within 240 s: DEPLOY_FAILED no such file"):
        said(planned, Serve({}, "DEPLOY_FAILED", "Traceback\nno such file")).until_ready()
    with pytest.raises(LocalServiceError, match=r"not healthy within 0 s: DEPLOYING"):
        said(planned, Serve({}, "DEPLOYING")).until_ready(timeout_s=0.0)
    said(planned, Serve(WHOLE)).until_ready(timeout_s=0.0)


def test_replicas_that_start_or_stop_are_there_and_do_not_run(planned: System) -> None:
    said(planned, Serve({**WHOLE, SCORER: [("RUNNING", OWN), ("STARTING", None)]}))
    assert planned.replicas()[SCORER] == 2
    assert planned.running_replicas()[SCORER] == 1


def test_two_of_everything_that_is_killed_and_ports_of_its_own() -> None:
    one, other = system_config(), system_config()
    assert one["http_options"]["port"] != other["http_options"]["port"]
    least = {section["name"]: section["autoscaling_config"]["min_replicas"] for section in deployments_of(one, FEWEST)
             if "autoscaling_config" in section and section["name"] in (INGEST, SCORER)}  # fmt: skip
    assert least == {INGEST: 2, SCORER: 2}
    settings = read_settings(arguments_of(one))
    assert settings.ingest.session_timeout_s == system.SESSION_TIMEOUT_S
    assert settings.gateway.history_events == system.HISTORY_EVENTS


@pytest.mark.parametrize(
    ("words", "role"),
    [
        ("ray::ServeReplica:fleet:Scorer.handle_request", SCORER),
        ("ray::ServeReplica:fleet:Ingest", INGEST),
        ("ray::ServeController.listen_for_change", CONTROLLER),
        ("raylet", "raylet"),
        ("ray::ServeReplica:other:Scorer", "ServeReplica:other:Scorer"),
    ],
)
def test_a_process_has_the_role_that_its_title_says(words: str, role: str) -> None:
    assert system._role(words) == role
