"""`fleet run` and its neighbours when something is wrong: one sentence, and nothing started."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import run
from fleet.errors import SettingsError
from simulator.local_kafka import DEFAULT_PORT, HOST, free_port, port_is_taken


def fleet(project_folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "commands", *arguments],
        cwd=project_folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write_config(project_folder: Path, file: Path, change: dict[str, Any], port: int) -> Path:
    config = yaml.safe_load((project_folder / "serve_config.yaml").read_text())
    config["http_options"]["port"] = port
    for section, values in change.items():
        config["applications"][0]["args"].setdefault(section, {}).update(values)
    file.write_text(yaml.safe_dump(config))
    return file


def test_run_says_which_port_is_taken(project_folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = fleet(
            project_folder, "run", "--config", str(write_config(project_folder, tmp_path / "c.yaml", {}, port))
        )
    assert ended.returncode == 1
    assert ended.stderr == (
        f"fleet: Port {port} for the page is taken, usually by another `fleet run`: "
        "end what listens there, or change http_options.port in c.yaml.\n"
    )


def test_run_says_how_to_use_the_kafka_that_has_the_port(project_folder: Path, tmp_path: Path) -> None:
    config = write_config(project_folder, tmp_path / "c.yaml", {}, free_port())
    with contextlib.ExitStack() as held:
        if not port_is_taken(DEFAULT_PORT):  # else a Kafka of this machine holds it
            held.enter_context(socket.create_server((HOST, DEFAULT_PORT)))
        ended = fleet(project_folder, "run", "--config", str(config), KAFKA_BOOTSTRAP_SERVERS="")
    assert ended.returncode == 1
    assert ended.stderr == (
        "fleet: Port 9092 for Kafka is taken, usually by another `fleet run` or a Kafka of yours: end what listens "
        "there, or use that Kafka: set KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092.\n"
    )


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("View the dashboard at \x1b[1m\x1b[32mhttp://127.0.0.1:8266 \x1b[39m", "http://127.0.0.1:8266"),
        ("nothing of it", "http://127.0.0.1:8265"),
    ],
)
def test_run_tells_where_ray_has_put_its_dashboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, address: str
) -> None:
    monkeypatch.setattr(run, "RUN_FOLDER", tmp_path)
    (tmp_path / run.SERVE_LOG).write_text(said)
    assert run.dashboard() == address


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ingest": {"lingre_ms": 5}}, "ingest.lingre_ms is no setting"),
        ({"gateway": {"max_clients": 0}}, "gateway.max_clients: Input should be greater than or equal to 1"),
    ],
)
def test_run_stops_at_a_wrong_setting(
    project_folder: Path, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    config = write_config(project_folder, tmp_path / "c.yaml", change, free_port())
    ended = fleet(project_folder, "run", "--config", str(config))
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_run_names_a_config_that_cannot_be_read(project_folder: Path, tmp_path: Path) -> None:
    ended = fleet(project_folder, "run", "--config", str(tmp_path / "none.yaml"))
    assert ended.returncode == 1
    assert ended.stderr == f"fleet: {tmp_path / 'none.yaml'} cannot be read: No such file or directory.\n"


def test_run_refuses_half_a_kafka_login(project_folder: Path) -> None:
    ended = fleet(project_folder, "topics", KAFKA_SASL_USERNAME="u", KAFKA_SASL_PASSWORD="")
    assert ended.returncode == 1
    assert "KAFKA_SASL_PASSWORD" in ended.stderr


def test_help_names_every_command(project_folder: Path) -> None:
    ended = fleet(project_folder, "--help")
    assert ended.returncode == 0
    for command in "run kafka topics simulate replay train evaluate loadtest".split():
        assert command in ended.stdout


def test_run_listens_on_loopback_unless_told_otherwise(
    project_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the config says: the repository's listens everywhere, for containers."""
    monkeypatch.setattr(run, "RUN_FOLDER", tmp_path)
    file = run._config_for(project_folder / "serve_config.yaml", HOST, allow_open=False)
    written = yaml.safe_load(file.read_text())
    assert written["http_options"] == {"host": "127.0.0.1", "port": 8000}
    assert written["applications"][0]["args"]["auth"]["allow_open"] is False
    with pytest.raises(SettingsError, match=r"auth\.mode is none, and Serve would listen on 0\.0\.0\.0"):
        run._config_for(project_folder / "serve_config.yaml", "0.0.0.0", allow_open=False)
    file = run._config_for(project_folder / "serve_config.yaml", "0.0.0.0", allow_open=True)
    assert yaml.safe_load(file.read_text())["http_options"]["host"] == "0.0.0.0"
