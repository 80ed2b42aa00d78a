"""`fleet doctor` as an operator calls it, against a real broker and a stand-in for the gateway."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from commands.main import commands
from fleet.kafka import Ledger, PartitionLedger, admin_client, missing_topics
from fleet.operations.checkup import Standing, books_finding, clock_finding, group_finding
from fleet.settings import read_settings
from simulator.local_kafka import HOST, LocalKafka, free_port
from tests.fleet.operations.written_log import WrittenLog, arguments


def doctor(config: Path, *words: str) -> Result:
    return CliRunner().invoke(commands, ["doctor", "--config", str(config), *words])


def findings(result: Result) -> dict[str, dict[str, str]]:
    return {
        part: {"standing": standing, "says": says, "mend": mend}
        for part, standing, says, mend in json.loads(result.stdout)["findings"]
    }


@pytest.fixture
def fields(models_folder: Path) -> dict[str, Any]:
    return {**arguments(), "model": {"folder": str(models_folder)}}


@pytest.fixture
def config(tmp_path: Path, fields: dict[str, Any]) -> Path:
    file = tmp_path / "serve_config.yaml"
    file.write_text(yaml.safe_dump({"applications": [{"args": fields}], "http_options": {"port": free_port()}}))
    return file


@contextmanager
def gateway(status: int, body: bytes = b"{}") -> Iterator[str]:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer((HOST, 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_doctor_says_what_is_missing_and_creates_nothing(kafka: LocalKafka, config: Path) -> None:
    for _ in range(2):
        result = doctor(config, "--json")
        found = findings(result)
        assert result.exit_code == 1
        assert found["kafka"]["standing"] == found["model"]["standing"] == found["settings"]["standing"] == "ok"
        assert found["kafka"]["says"] == f"{kafka.bootstrap_servers} answers: 1 broker of Kafka 4.2."
        assert found["topics"]["standing"] == "trouble"
        assert found["topics"]["mend"] == "`fleet topics` creates them"
        assert found["gateway"]["standing"] == "trouble"


def test_doctor_sees_that_nobody_ingests(kafka: LocalKafka, config: Path, fields: dict[str, Any]) -> None:
    log = WrittenLog(read_settings(fields))
    log.publish(0, [b"{}"] * 3)
    deadline_s = time.monotonic() + 20
    while missing_topics(log.settings.kafka, admin_client()):  # the broker lists them some moments later
        assert time.monotonic() < deadline_s
    try:
        with gateway(200) as url:
            result = doctor(config, "--gateway", url, "--json")
    finally:
        log.close()
    found = findings(result)
    assert result.exit_code == 1
    assert found["group"] == {
        "standing": "trouble",
        "says": "Nobody ingests; 3 records wait.",
        "mend": "start the application, or look why ingest does not join",
    }
    assert found["gateway"]["standing"] == found["clock"]["standing"] == found["topics"]["standing"] == "ok"
    assert "appended" in found["clock"]["says"]


def test_doctor_says_that_kafka_is_away_and_goes_on(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"{HOST}:{free_port()}")
    monkeypatch.setattr("fleet.kafka.topics.REQUEST_TIMEOUT_S", 0.5)
    result = doctor(config)
    assert result.exit_code == 1
    assert "does not answer" in result.stdout
    assert "KAFKA_BOOTSTRAP_SERVERS" in result.stdout
    assert "can be read" in result.stdout


def test_doctor_repeats_what_the_gateway_says(kafka: LocalKafka, config: Path) -> None:
    with gateway(503, b'{"detail": "scorer: no scorer answers"}') as url:
        found = findings(doctor(config, "--gateway", url, "--json"))
    assert found["gateway"]["says"] == "scorer: no scorer answers"


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"detail": 1}'])
def test_doctor_is_not_misled_by_another_server(config: Path, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"{HOST}:{free_port()}")
    monkeypatch.setattr("fleet.kafka.topics.REQUEST_TIMEOUT_S", 0.5)
    with gateway(404, body) as url:
        result = doctor(config, "--gateway", url, "--json")
    assert result.exit_code == 1
    assert findings(result)["gateway"]["standing"] == "trouble"


def test_doctor_says_a_wrong_setting_first(tmp_path: Path) -> None:
    config = tmp_path / "serve_config.yaml"
    config.write_text(yaml.safe_dump({"applications": [{"args": {"kafka": {"partitons": 3}}}]}))
    found = findings(doctor(config, "--json"))
    assert list(found) == ["settings"]
    assert "kafka.partitons is no setting" in found["settings"]["says"]


@pytest.mark.parametrize(
    ("ahead_s", "standing"), [(-3_600.0, Standing.OK), (0.5, Standing.OK), (30.0, Standing.TROUBLE)]
)
def test_clock_is_behind_where_telemetry_comes_from_the_future(ahead_s: float, standing: Standing) -> None:
    assert clock_finding(1_700_000_000.0 + ahead_s, 1_700_000_000.0).standing == standing


def test_group_with_members_is_well() -> None:
    assert group_finding(2, 100).standing == Standing.OK


@pytest.mark.parametrize(
    ("committed", "low", "ledger", "says"),
    [
        (5, 0, Ledger(read=5, scored=3, dead_lettered=1, in_flight=1), None),
        (5, 0, Ledger(read=5, scored=3), "do not balance: +2 records"),
        (5, 9, Ledger(read=5, scored=5), "no longer has offsets 5 to 8"),
        (None, 9, Ledger(), None),
    ],
)
def test_books_and_position_of_a_partition(committed: int | None, low: int, ledger: Ledger, says: str | None) -> None:
    finding = books_finding(PartitionLedger(0, committed, low, 20, ledger))
    assert (finding is None) if says is None else (finding is not None and says in finding.says)
