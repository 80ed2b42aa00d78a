"""Faults in what is sent: records that cannot be read, records that are too large, and wrong times."""

import json
import time
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

import msgspec

from faults import books
from faults.cases.register import OF_A_PROCESS_S, case
from faults.load import FLUSH_TIMEOUT_S, Content, content_of
from faults.system import INGEST
from faults.trial import Trial
from fleet import kafka
from fleet.records.dead_letter import OMITTED_HEADER
from simulator.publisher import FIELDS, Columns

GOOD_FOR_A_POISON = 10
POISON_SECONDS = 20
SCORED: Final = "scored"

Break = Callable[[bytes], bytes | None]


def _with(field: str, text: str) -> Break:
    """Add a field as JSON text to an event; a name that it has already then stands there twice."""
    return lambda event: event[:-1] + f',"{field}":{text}}}'.encode()


def _without(field: str) -> Break:
    return lambda event: json.dumps({k: v for k, v in json.loads(event).items() if k != field}).encode()


# How an event is broken, and what must become of it: a dead letter with this reason, or a result.
POISON: Mapping[str, tuple[Break, str]] = {
    "bad UTF-8": (lambda event: event.replace(b'":"', b'":"\xff', 1), "not_utf8"),
    "truncated": (lambda event: event[: len(event) // 2], "not_json"),
    "NaN": (_with("speed", "NaN"), "not_finite"),
    "1e999": (_with("speed", "1e999"), "not_finite"),
    "4,300 digits": (_with("speed", "9" * 4_301), "not_finite"),
    "deep nesting": (_with("nested", "[" * 50_000), "not_json"),
    "lone surrogate": (_with("note", '"\\ud800"'), "not_json"),
    "duplicate keys": (_with("temperature", "90"), SCORED),
    "wrong type": (_with("speed", '"fast"'), "wrong_type"),
    "no object": (lambda event: b"[" + event + b"]", "not_an_object"),
    "no vehicle": (_without("vehicleId"), "missing_field"),
    "no timestamp": (_without("timestamp"), "missing_field"),
    "unknown field": (_with("colour", '{"hue":[1,2,3]}'), SCORED),
    "out of range": (_with("speed", "-1e300"), SCORED),
    "no such place": (_with("latitude", "95"), "impossible_position"),
    "no such time": (_with("timestamp", '"yesterday"'), "bad_timestamp"),
    "milliseconds": (_with("timestamp", "1764533865550"), "bad_timestamp"),
    "NUL": (lambda event: event.replace(b":", b":\x00", 1), "not_json"),
    "empty": (lambda _event: b"", "empty"),
    "null": (lambda _event: None, "empty"),
    "UTF-16": (lambda event: event.decode().encode("utf-16"), "not_utf8"),
    "BOM": (lambda event: b"\xef\xbb\xbf" + event, SCORED),
    "number as text": (_with("speed", '"30.5"'), SCORED),
}


class Poisoned(Content):
    """Every eleventh event is broken in one of the ways of `POISON`."""

    def __init__(self, random: Random) -> None:
        self._random, self._seen = random, 0
        self.sent: dict[int, str] = {}  # by content: which poison
        self.of_a_kind: Counter[str] = Counter()

    def mix(self, values: list[bytes]) -> Sequence[bytes | None]:
        """Break some."""
        return [self._maybe_broken(value) for value in values]

    def _maybe_broken(self, value: bytes) -> bytes | None:
        self._seen += 1
        if self._seen % (GOOD_FOR_A_POISON + 1):
            return value
        name = self._random.choice(list(POISON))
        broken = POISON[name][0](value)
        self.sent[content_of(broken)] = name
        self.of_a_kind[name] += 1
        return broken


@case(13, "poison mixed 1:10 into good events", OF_A_PROCESS_S, Poisoned)
def poisoned(trial: Trial) -> None:
    """Send the corpus for a while; each poison must end where it belongs, with its own bytes and reason."""
    content = trial.load.content
    assert isinstance(content, Poisoned)
    began_s = time.monotonic()
    trial.flow(trial.times(POISON_SECONDS, in_brief=10))
    trial.recover(began_s)
    trial.drain()
    for sentence in wrong_outcomes(content.of_a_kind, outcomes(_came_out(trial), content.sent)):
        trial.expect(False, sentence)
    trial.note(f"{sum(content.of_a_kind.values()):,} poisons of {len(POISON)} kinds")


def wrong_outcomes(sent: Mapping[str, int], found: Mapping[str, Counter[str]]) -> Iterator[str]:
    """Say which poisons did not become, each time and nothing else, what the corpus says of their kind."""
    for name, (_, wanted) in POISON.items():
        became, count = found.get(name, Counter()), sent.get(name, 0)
        if became != Counter({wanted: count}):
            yield f"{count} x {name} must become {wanted}, became {dict(became)}"


def outcomes(out: Iterable[kafka.Message], poison_by_content: Mapping[int, str]) -> dict[str, Counter[str]]:
    """Count what became of each poison: a dead letter's reason, or a result. Other bytes are another event."""
    found = dict[str, Counter[str]]()
    for message in out:
        if (name := poison_by_content.get(content_of(message.value()))) is not None:
            outcome = dict(message.headers()).get("reason", SCORED.encode()).decode()
            found.setdefault(name, Counter())[outcome] += 1
    return found


def _came_out(trial: Trial) -> Iterator[kafka.Message]:
    settings = trial.settings.kafka
    end = books.ends(settings)
    for topic in (settings.topics.scored, settings.topics.dlq):
        yield from books.read_stretch(settings, topic, trial.begin, end)


HUGE_BYTES = 10_000_000
LARGE_BYTES = 900_000  # Kafka takes it, and it is more than an event may be
HUGE_RECORDS = 3
RAISED_BYTES = 16_000_000
DEAD_TIMEOUT_S = 60.0


@case(14, "a 10 MB record", OF_A_PROCESS_S)
def huge_record(trial: Trial) -> None:
    """Send what Kafka refuses, what only the system refuses, and, once the topic allows it, 10 MB that Kafka takes."""
    topic = trial.settings.kafka.topics.telemetry
    refusal = _send(topic, [b"x" * HUGE_BYTES])
    trial.expect(refusal == ["MSG_SIZE_TOO_LARGE"], f"10 MB must be refused by Kafka as too large, was: {refusal}")
    sent_s = time.monotonic()
    trial.expect(not _send(topic, [b"x" * LARGE_BYTES]), f"Kafka must take {LARGE_BYTES:,} bytes")
    _await_dead_letters(trial, 1)
    trial.recover(sent_s)
    _allow(topic, RAISED_BYTES)
    sent_s = time.monotonic()
    refusal = _send(topic, [b"x" * HUGE_BYTES] * HUGE_RECORDS)
    trial.expect(not refusal, f"Kafka must take 10 MB once the topic allows it, said: {refusal}")
    _await_dead_letters(trial, 1 + HUGE_RECORDS)
    trial.recover(sent_s)
    for sentence in wrong_sizes(_too_large(trial)):
        trial.expect(False, sentence)


def wrong_sizes(dead: Iterable[kafka.Message]) -> Iterator[str]:
    """Say whether a dead letter that had to leave its event out does not name the event's size, or one too many did."""
    omitted = Counter(dict(message.headers()).get(OMITTED_HEADER) for message in dead)
    if omitted != Counter({None: 1, str(HUGE_BYTES).encode(): HUGE_RECORDS}):
        yield f"what is too large for a dead letter must be named by its size, was: {omitted}"


def _send(topic: str, values: Sequence[bytes]) -> list[str]:
    """Send records, to partitions by chance; returns the names of the errors."""
    errors: list[str] = []
    producer = kafka.telemetry_producer(
        "faults-huge",
        **{
            "message.max.bytes": 2 * HUGE_BYTES,
            "on_delivery": lambda error, _message: errors.append(error.name()) if error else None,
        },
    )
    for value in values:
        producer.produce(topic, value, b"huge")
    producer.flush(FLUSH_TIMEOUT_S)
    return errors


def _allow(topic: str, largest_bytes: int) -> None:
    """Raise what a topic takes, as an operator may who knows nothing of the other topics."""
    entry = kafka.ConfigEntry(
        "max.message.bytes", str(largest_bytes), incremental_operation=kafka.AlterConfigOpType.SET
    )
    resource = kafka.ConfigResource(kafka.ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = kafka.admin_client()  # its answers come as long as it lives
    [answer] = admin.incremental_alter_configs([resource]).values()
    answer.result(kafka.REQUEST_TIMEOUT_S)


def _await_dead_letters(trial: Trial, count: int) -> None:
    trial.until(lambda: len(_too_large(trial)) == count, f"{count} dead letters that are too large", DEAD_TIMEOUT_S)


def _too_large(trial: Trial) -> list[kafka.Message]:
    settings = trial.settings.kafka
    dead = books.read_stretch(settings, settings.topics.dlq, trial.begin, books.ends(settings))
    return [message for message in dead if dict(message.headers())["reason"] == b"too_large"]


REPEAT_IN, LATE_IN = 50, 50  # events
LATE_S, FUTURE_S, SLOW_CLOCK_S = 90.0, 86_400.0, -3_600.0
TIMES_SECONDS = 30.0
_VEHICLE, _TIMESTAMP = FIELDS.index("vehicleId"), FIELDS.index("timestamp")


class OddTimes(Content):
    """Repeated and late events; and vehicles whose clocks are a day ahead, an hour behind, or run away."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._last: dict[str, list[Any]] = {}
        self._began_s = time.time()
        self.repeats_by_number: set[int] = set()
        self._numbered = 0

    def alter(self, columns: Columns) -> Columns:
        """Change times and repeat whole events; the number that is added later tells repeats apart."""
        rows = [self._altered(list(row)) for row in zip(*columns, strict=True)]
        return [list(column) for column in zip(*rows, strict=True)]

    def _altered(self, row: list[Any]) -> list[Any]:
        number, self._numbered = self._numbered, self._numbered + 1
        vehicle, chance = row[_VEHICLE], self._random.random()
        if chance < 1 / REPEAT_IN and vehicle in self._last:
            self.repeats_by_number.add(number)
            return self._last[vehicle]
        row = _with_time(row, row[_TIMESTAMP] + self._clock_error_s(vehicle, row[_TIMESTAMP]))
        if chance < 1 / REPEAT_IN + 1 / LATE_IN:
            return _with_time(row, row[_TIMESTAMP] - LATE_S)  # by the vehicle's own clock
        self._last[vehicle] = row
        return row

    def _clock_error_s(self, vehicle: str, time_s: float) -> float:
        """One clock in ten is a day ahead, one an hour behind, one gains a second in ten."""
        kinds = {0: FUTURE_S, 1: SLOW_CLOCK_S, 2: 0.1 * (time_s - self._began_s)}
        return kinds.get(zlib.crc32(vehicle.encode()) % 10, 0.0)


def _with_time(row: list[Any], time_s: float) -> list[Any]:
    return [*row[:_TIMESTAMP], time_s, *row[_TIMESTAMP + 1 :]]


@case(15, "late, future, repeated and skewed times", OF_A_PROCESS_S, OddTimes)
def odd_times(trial: Trial) -> None:
    """Send them for a while, with a member killed in between: each is scored once, and every repeat is marked."""
    content = trial.load.content
    assert isinstance(content, OddTimes)
    trial.flow(TIMES_SECONDS)
    trial.recover(trial.kill(trial.any_process(INGEST)))
    trial.drain()
    for sentence in wrong_repeats(_scored_events(trial), content.repeats_by_number):
        trial.expect(False, sentence)
    trial.note(f"{len(content.repeats_by_number):,} repeats in {trial.load.sent:,} events")


class Scored(msgspec.Struct, gc=False):
    """What a result says of its event, as far as repeats go."""

    sequence: int
    repeat: bool


def wrong_repeats(events: Iterable[Scored], repeats_by_number: Container[int]) -> Iterator[str]:
    """Say how many repeats are not marked as such, and how many marked events are none."""
    wrong = Counter[str]()
    for event in events:
        is_repeat = event.sequence in repeats_by_number
        wrong["repeats that are not marked"] += is_repeat and not event.repeat
        wrong["marked events that are no repeats"] += event.repeat and not is_repeat
    yield from (f"{count:,} {what}" for what, count in wrong.items() if count)


def _scored_events(trial: Trial) -> Iterator[Scored]:
    settings, decode = trial.settings.kafka, msgspec.json.Decoder(Scored).decode
    for message in books.read_stretch(settings, settings.topics.scored, trial.begin, books.ends(settings)):
        yield decode(message.value())
