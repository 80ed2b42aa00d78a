"""`fleet audit` as an operator calls it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from commands.main import commands
from fleet.kafka import Ledger
from fleet.settings import read_settings
from simulator.local_kafka import LocalKafka
from tests.fleet.operations.written_log import WrittenLog, arguments


class Console:
    """The command, run with a config of the test's own log."""

    def __init__(self, folder: Path) -> None:
        fields = arguments()
        self.config = folder / "serve_config.yaml"
        self.config.write_text(yaml.safe_dump({"applications": [{"args": fields}]}))
        self.log = WrittenLog(read_settings(fields))

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(commands, ["audit", *words, "--config", str(self.config)])


@pytest.fixture
def console(kafka: LocalKafka, tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    made.log.publish(0, [b"{}"] * 40)
    yield made
    made.log.close()


def test_audit_prints_a_table_where_the_books_balance(console: Console) -> None:
    log = console.log
    log.come_out(0, [*(log.scored(0, o) for o in range(29)), log.dead(0, 29)], 30, Ledger(30, 29, 1))
    result = console.run()
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert rows[2:5] == [
        ["0", "0-29", "30", "29", "1", "10"],
        ["1", "none", "0", "0", "0", "0"],
        ["total", "30", "29", "1", "10"],
    ]
    assert result.output.splitlines()[-1].startswith("The books balance: 30 events in ")


def test_audit_ends_with_status_1_and_names_the_first_faults(console: Console) -> None:
    log = console.log
    log.come_out(0, [log.scored(0, 30), log.scored(0, 30)], 31, Ledger(31, 31, 0))
    result = console.run()
    assert result.exit_code == 1
    lines = result.output.splitlines()
    missing = lines.index("missing: 30 events without a result or a dead letter")
    assert lines[missing + 1 : missing + 22] == [
        *(f"  0:{o}" for o in range(20)),
        "  and 10 more: --verbose shows all",
    ]
    assert lines[-4:-2] == [
        "doubled: 1 results or dead letters of an event that already had one",
        f"  0:30  in {log.topics.scored} 0:1",
    ]
    assert lines[-2] == "ledger: partition 0: the ledger says 31 scored, the log holds 1"
    assert lines[-1].startswith("The books do not balance: 31 events in ")
    assert "  0:29\n" in console.run("--verbose").output
    assert console.run("--offsets", "0:30-").exit_code == 1
    assert console.run("--offsets", "1:0-", "--since", "1h").exit_code == 0
    assert console.run("--until", "1h").exit_code == 0


def test_audit_speaks_json(console: Console) -> None:
    log = console.log
    log.come_out(0, [log.scored(0, 25), log.scored(0, 25)], 26, Ledger(26, 26, 0))
    result = console.run("--json")
    assert result.exit_code == 1
    said = msgspec.json.decode(result.stdout)
    assert (said["balanced"], said["events"]) == (False, 26)
    assert [fault["source"] for fault in said["faults"]["missing"]] == [f"0:{o}" for o in range(25)]
    assert said["faults"]["doubled"] == [{"source": "0:25", "at": f"{log.topics.scored} 0:1"}]
    assert said["faults"]["reordered"] == []
    assert said["partitions"][0]["ledger"] == {"read": 26, "scored": 26, "deadLettered": 0, "inFlight": 0, "keyless": 0}
    assert said["partitions"][0]["notYet"] == 14
    assert len(said["ledger"]) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--offsets", "3"), "'3' is no stretch"),
        (("--offsets", "3:9-4"), "'3:9-4' ends before it begins"),
        (("--since", "soon"), "'soon' is no moment"),
    ],
)
def test_audit_says_what_is_wrong_with_an_option(words: tuple[str, ...], sentence: str) -> None:
    result = CliRunner().invoke(commands, ["audit", *words])
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.replace("│", " ").split())
