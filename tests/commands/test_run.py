"""`fleet run` and its neighbours when something is wrong: one sentence, and nothing started."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.local_kafka import free_port


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
        f"fleet: Port {port} for the page is taken: "
        "end what listens there, or change http_options.port in serve_config.yaml.\n"
    )


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
