"""`fleet dlq` as an operator calls it."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from commands.dlq import hex_rows, printable
from commands.main import commands
from commands.moments import as_text, moment_s
from fleet.errors import FleetError
from fleet.kafka import Ledger
from fleet.operations.dead_letters import DeadLetterFilter, DeadLetters
from fleet.settings import read_settings
from simulator.local_kafka import LocalKafka
from tests.fleet.operations.written_log import WrittenLog, arguments


class Console:
    """The commands, run with a config of the test's own log."""

    def __init__(self, folder: Path) -> None:
        self.arguments = arguments()
        self.config = folder / "serve_config.yaml"
        self.config.write_text(yaml.safe_dump({"applications": [{"args": self.arguments}]}))
        self.log = WrittenLog(read_settings(self.arguments))

    def run(self, *words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(commands, ["dlq", *words, "--config", str(self.config)], input=answer)


@pytest.fixture
def console(kafka: LocalKafka, tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    log = made.log
    log.publish(0, [b"{"] * 3)
    out = [
        log.dead(0, 0, "not_utf8", b"\x1b[31m\xff\xe2\x80\xae\\", b"truck\x07"),
        log.dead(0, 1, "empty", None, None),
        log.dead(0, 2, "not_json", b"{" * 5_000),
    ]
    log.come_out(0, out, 3, Ledger(3, 0, 3))
    yield made
    log.close()


def test_list_counts_by_reason_and_shows_the_newest(console: Console) -> None:
    result = console.run("list", "--limit", "2")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith(f"3 dead letters in {console.log.topics.dlq} at ")
    assert sorted(lines[1:4]) == ["1  empty", "1  not_json", "1  not_utf8"]
    assert [line.split()[1:4] for line in lines[6:]] == [["0:2", "0:2", "not_json"], ["0:1", "0:1", "empty"]]
    assert lines[-1].split()[4:6] == ["null", "null"]
    filtered = console.run("list", "--reason", "empty", "--reason", "not_utf8", "--since", "1h", "--partition", "0")
    assert filtered.output.startswith("2 dead letters")
    assert "truck\\x07" in filtered.output
    assert console.run("list", "--until", "1h").output.startswith("0 dead letters")


def test_list_speaks_json(console: Console) -> None:
    said = msgspec.json.decode(console.run("list", "--json", "--limit", "1").stdout)
    assert (said["total"], said["reasons"]) == (3, {"not_utf8": 1, "empty": 1, "not_json": 1})
    [newest] = said["newest"]
    assert (newest["source"], newest["reason"], newest["bytes"]) == ("0:2", "not_json", 5_000)
    assert newest["key"] == {"text": "v"}


def test_show_says_everything_and_sends_no_terminal_a_command(console: Console) -> None:
    result = console.run("show", "0:0")
    assert result.exit_code == 0, result.output
    assert "\\x1b[31m\\xff\\xe2\\x80\\xae\\\\" in result.output
    for words in ("not_utf8", "detail of 0", "truck\\x07", f"0:0  in {console.log.topics.telemetry}", "10 bytes"):
        assert words in result.output
    assert result.output.replace("\n", "").isprintable()
    dump = console.run("show", "0:0", "--hex").output
    assert "00000000  1b 5b 33 31 6d ff e2 80 ae 5c                    .[31m....\\" in dump
    long = console.run("show", "0:2", "--in-dlq", "--most-bytes", "10").output
    assert long.endswith("{{{{{{{{{{\nand 4,990 more bytes: --most-bytes shows more\n")
    [letter] = msgspec.json.decode(console.run("show", "0:0", "--json").stdout)
    assert letter["value"] == {"hex": b"\x1b[31m\xff\xe2\x80\xae\\".hex()}
    assert letter["key"] == {"text": "truck\x07"}
    [null] = msgspec.json.decode(console.run("show", "0:1", "--json").stdout)
    assert null["value"] is null["key"] is null["bytes"] is None


def test_show_says_that_there_is_none(console: Console) -> None:
    result = console.run("show", "0:7")
    assert isinstance(result.exception, FleetError)
    assert "holds no dead letter of the telemetry record 0:7" in str(result.exception)
    result = console.run("show", "1:0", "--in-dlq")
    assert "holds no dead letter at 1:0" in str(result.exception)


def test_redrive_asks_first_and_sends_once(console: Console) -> None:
    telemetry = console.log.topics.telemetry

    def sent() -> int:
        return sum(bool(message.headers()) for message in console.log.read(telemetry))

    dry = console.run("redrive", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert f"3  to send to {telemetry} again: 1 " in dry.output
    refused = console.run("redrive", answer="n\n")
    assert refused.exit_code == 1
    assert f"Send 3 dead letters to {telemetry} again? [y/N]" in refused.output
    assert console.run("redrive").exit_code == 1  # nobody there to ask
    assert sent() == 0
    one = console.run("redrive", "--source", "0:2", answer="y\n")
    assert one.exit_code == 0, one.output
    assert one.output.endswith("1 sent and acknowledged, 0 failed\n")
    assert sent() == 1
    rest = console.run("redrive", "--yes")
    assert "1  left: sent again before" in rest.output
    assert rest.output.endswith("2 sent and acknowledged, 0 failed\n")
    again = console.run("redrive", "--yes")
    assert again.exit_code == 0
    assert "acknowledged" not in again.output
    assert sent() == 3


def test_redrive_ends_with_status_1_when_something_could_not_be_sent(console: Console) -> None:
    too_large = b"x" * (console.log.settings.kafka.max_message_bytes + 1)
    console.log.come_out(0, [console.log.dead(0, 1, "too_large", too_large)], 3, Ledger(3, 0, 3))
    result = console.run("redrive", "--yes", "--reason", "too_large")
    assert result.exit_code == 1
    assert "0 sent and acknowledged, 1 failed (the last: " in result.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "--since", "yesterday"), "'yesterday' is no moment"),
        (("show", "17"), "'17' is no partition:offset"),
        (("redrive", "--source", "0:-1"), "'0:-1' is no partition:offset"),
    ],
)
def test_dlq_says_what_is_wrong_with_an_option(words: tuple[str, ...], sentence: str) -> None:
    result = CliRunner().invoke(commands, ["dlq", *words])
    assert result.exit_code == 2
    assert sentence in " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.output).split())


def test_moments_are_read_and_written(console: Console) -> None:
    assert moment_s("2026-11-24T02:00:00Z") == moment_s("2026-11-24T02:00") == moment_s("2026-11-24T03:00+01:00")
    assert moment_s("1.5h") - moment_s("5400s") == pytest.approx(0, abs=1)
    assert moment_s("2d") - moment_s("48h") == pytest.approx(moment_s("1m") - moment_s("60s"), abs=1)
    for letter in DeadLetters(console.log.settings.kafka).chosen(DeadLetterFilter()):
        assert moment_s(as_text(letter.at_s)) == letter.at_s


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")))
def test_printable_is_harmless_and_says_every_byte(value: bytes) -> None:
    text = printable(value)
    assert text.isprintable()
    escapes = {"\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t"}
    parts = re.findall(r"\\x([0-9a-f]{2})|\\([\\nrt])|([^\\])", text)
    assert b"".join(bytes.fromhex(x) if x else escapes[s] if s else c.encode() for x, s, c in parts) == value


@given(st.binary(max_size=100))
def test_hex_rows_say_every_byte(value: bytes) -> None:
    rows = hex_rows(value)
    assert bytes.fromhex("".join(row[10:57] for row in rows)) == value
    assert all(row.isprintable() for row in rows)
