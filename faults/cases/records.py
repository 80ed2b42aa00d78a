"""Faults in what is sent: records that cannot be read, records that are too large, and wrong times."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from faults import books
from faults.cases.register import OF_A_PROCESS_S, case
from faults.load import Content, content_of
from faults.trial import Trial

GOOD_FOR_A_POISON = 10
POISON_SECONDS = 20.0
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
    "BOM": (lambda event: b"\xef\xbb\xbf" + event, "not_json"),
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
    trial.flow(POISON_SECONDS)
    trial.recover(time.monotonic() - POISON_SECONDS)
    trial.drain()
    found = _outcomes(trial, content.sent)
    for name, (_, wanted) in POISON.items():
        became = found.get(name, Counter())
        sent = content.of_a_kind[name]
        trial.expect(became == Counter({wanted: sent}), f"{sent} x {name} must become {wanted}, became {dict(became)}")
    trial.note(f"{sum(content.of_a_kind.values()):,} poisons of {len(POISON)} kinds")


def _outcomes(trial: Trial, poison_by_content: Mapping[int, str]) -> dict[str, Counter[str]]:
    """Count what became of each poison: a dead letter's reason, or a result."""
    kafka, found = trial.settings.kafka, dict[str, Counter[str]]()
    end = books.ends(kafka)
    for topic in (kafka.topics.scored, kafka.topics.dlq):
        for message in books.read_stretch(kafka, topic, trial.begin, end):
            if (name := poison_by_content.get(content_of(message.value()))) is not None:
                outcome = dict(message.headers()).get("reason", SCORED.encode()).decode()
                found.setdefault(name, Counter())[outcome] += 1
    return found
