"""The load test against a real broker, real transactions and a real WebSocket."""

import threading
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from commands.loadtest import loadtest
from fleet.errors import FleetError
from loadtest.generator import Load, Produced
from loadtest.report import describe
from loadtest.run import Outcome, run_load_test
from simulator.local_kafka import LocalKafka, free_port
from simulator.sender import Progress

from .conftest import Relay, sequence

RATE, VEHICLES, SECONDS = 400.0, 40, 2.0


def _run(relay: Relay, websocket_url: str | None, drain_s: float = 1.5) -> Outcome:
    load = Load("run-1", RATE, VEHICLES, SECONDS, relay.telemetry)
    return run_load_test(load, relay.scored, websocket_url, drain_s, threading.Event(), lambda _: None)


def test_load_test_finds_a_clean_run_clean_on_both_ways_out(relay: Relay) -> None:
    outcome = _run(relay, relay.url, drain_s=10)
    assert outcome.produced.progress.acknowledged == RATE * SECONDS
    assert outcome.is_clean
    for reader in outcome.readers:
        assert reader.arrivals.unique == RATE * SECONDS
        p50, p99 = reader.arrivals.latency_ms(50, 99)
        assert 0 < p50 <= p99 < 10_000
    report = "\n".join(describe(outcome))
    assert "scored topic" in report
    assert "WebSocket" in report
    assert report.count("0 lost, 0 duplicated, 0 reordered") == 2


def test_load_test_counts_what_was_lost_doubled_and_reordered(relay: Relay) -> None:
    kept_back: list[bytes] = []

    def tamper(values: list[bytes]) -> list[bytes]:
        published = []
        for value in values:
            number = sequence(value)
            if number == 10:
                continue  # lost
            if number == 20:
                published += [value, value]  # doubled
            elif number == 30:
                kept_back.append(value)  # published behind its vehicle's next event
            elif number == 30 + VEHICLES:
                published += [value, *kept_back]
            else:
                published.append(value)
        return published

    relay.tamper = tamper
    outcome = _run(relay, None)
    [reader] = outcome.readers
    assert outcome.lost(reader) == 1
    assert reader.arrivals.duplicates == 1
    assert reader.arrivals.reordered == 1
    assert not outcome.is_clean
    assert "1 lost, 1 duplicated, 1 reordered" in "\n".join(describe(outcome))


def test_load_test_refuses_a_topic_that_is_not_there(kafka: LocalKafka) -> None:
    load = Load("run-1", RATE, VEHICLES, SECONDS, "nowhere")
    with pytest.raises(FleetError, match="there is no topic nowhere-scored; start the application"):
        run_load_test(load, "nowhere-scored", None, 1.0, threading.Event(), lambda _: None)


def test_load_test_refuses_a_feed_that_does_not_answer(relay: Relay) -> None:
    with pytest.raises(FleetError, match="cannot read the WebSocket"):
        _run(relay, f"ws://127.0.0.1:{free_port()}/ws/telemetry")


def test_load_test_ends_early_and_reports_when_asked_to(relay: Relay) -> None:
    stop = threading.Event()
    load = Load("run-1", RATE, VEHICLES, 3_600.0, relay.telemetry)
    stop.set()
    outcome = run_load_test(load, relay.scored, None, 1.0, stop, lambda _: None)
    assert outcome.produced.progress.acknowledged < RATE * 60


@pytest.mark.parametrize(
    ("produced", "kept_up"),
    [
        (Produced(Progress(800, 800), RATE, 5.0), True),
        (Produced(Progress(800, 800), RATE, 900.0), False),
        (Produced(Progress(800, 800, skipped=40), RATE, 5.0), False),
    ],
)
def test_report_says_when_the_generator_could_not_keep_the_rate(produced: Produced, kept_up: bool) -> None:
    outcome = Outcome(Load("run-1", RATE, VEHICLES, SECONDS, "t"), produced, [])
    assert ("could not keep the rate" not in "\n".join(describe(outcome))) is kept_up


def test_load_test_follows_a_profile_from_several_processes(relay: Relay) -> None:
    load = Load("run-1", 600.0, VEHICLES, SECONDS, relay.telemetry, shape="spike", base_rate=60.0, processes=3)
    outcome = run_load_test(load, relay.scored, None, 10, threading.Event(), lambda _: None)
    assert outcome.produced.progress.acknowledged == load.events == 336
    assert outcome.is_clean
    assert outcome.produced.lateness is not None
    assert outcome.produced.lateness.sent.sum() == 336


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(loadtest)
    return app


def _command(relay: Relay, *options: str) -> Result:
    usual = ["--rate", "100", "--vehicles", "10", "--seconds", "0.5", "--drain-s", "1"]
    topics = ["--telemetry-topic", relay.telemetry, "--scored-topic", relay.scored]
    return CliRunner().invoke(_app(), [*usual, *topics, *options])


def test_command_ends_with_status_1_after_a_loss(relay: Relay) -> None:
    relay.tamper = lambda values: [value for value in values if sequence(value) != 3]
    result = _command(relay)
    assert result.exit_code == 1
    assert "1 lost" in result.output


@pytest.mark.parametrize(
    ("limits", "status", "words"),
    [
        ("[scored]\np99_ms = 60000\n[generator]\nlateness_p99_ms = 60000\nreader_busy_share = 1", 0, "PASSED"),
        ("[scored]\np50_ms = 0\n[generator]\nlateness_p99_ms = 60000\nreader_busy_share = 1", 1, "FAILED"),
        ("[scored]\np50_ms = 0\n[generator]\nlateness_p99_ms = 0", 3, "GENERATOR TOO SLOW"),
    ],
    ids=["kept", "not-kept", "void"],  # they name the topics
)
def test_command_judges_by_thresholds(relay: Relay, tmp_path: Path, limits: str, status: int, words: str) -> None:
    file = tmp_path / "limits.toml"
    file.write_text(limits)
    result = _command(relay, "--thresholds", str(file))
    assert words in result.output
    assert result.exit_code == status


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--rate", "0"), "There is nothing to send"),
        (("--predict-rate", "5"), "give --gateway"),
        (("--rate", "1000000", "--seconds", "100"), "one test has at most 20,000,000"),
        (("--predict-rate", "1000", "--seconds", "6000", "--gateway", "http://g"), "lower --predict-rate or --seconds"),
    ],
)
def test_command_refuses_what_cannot_be_a_test(options: tuple[str, ...], sentence: str) -> None:
    assert sentence in str(CliRunner().invoke(_app(), options).exception)
