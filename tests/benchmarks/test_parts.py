"""The steps by themselves: time per event without the warm-up, and a step that loses something is no step."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import parts
from benchmarks.client_crowd import broadcast
from benchmarks.figures import Figure
from benchmarks.floor import _by_partition
from benchmarks.parts import WARM_UP_BLOCKS, _broadcast_to, _events_in, _per_event, _require, _timed
from benchmarks.verdicts import BenchmarkError
from fleet.delivery.live_feed import LiveBlock
from fleet.detection.verdicts import Scores
from fleet.events.telemetry import TelemetryDecoder
from tests.small_detector import made_up_bundle


class Clock:
    """Process time that goes on by what each item costs."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def process_time(self) -> float:
        return self.now_s

    def spend(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(parts, "time", clock)
    return clock


def test_a_step_is_timed_per_event_without_its_warm_up(clock: Clock) -> None:
    def step(values: list[int]) -> int:
        clock.spend(values[0])
        return len(values)

    items = [[100]] * WARM_UP_BLOCKS + [[2, 0], [4, 0], [6, 0]]
    part, outputs = _timed("step", step, items)
    assert part.name == "step"
    assert part.us_per_event == Figure(2e6, 1e6, 3e6)
    assert outputs == [len(item) for item in items]


def test_a_step_is_given_every_item_in_order() -> None:
    _, outputs = _timed("step", lambda values: values[0], [[number] for number in range(9)])
    assert outputs == list(range(9))


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.integers(0, 100)), max_size=20))
def test_time_per_event_leaves_out_blocks_without_events(blocks: list[tuple[float, int]]) -> None:
    found = _per_event((seconds for seconds, _ in blocks), (count for _, count in blocks))
    each = [1e6 * seconds / count for seconds, count in blocks if count]
    assert found == pytest.approx(Figure.of(each), nan_ok=True)


def test_events_are_counted_in_whatever_holds_them() -> None:
    assert _events_in([1, 2, 3]) == 3
    assert _events_in((["block", "of"], "times")) == 2
    assert _events_in(SimpleNamespace(vehicle_ids=["v1"])) == 1
    assert _events_in(np.zeros((5, 2))) == 5


def test_what_must_hold_is_named_where_it_does_not() -> None:
    _require(True, "decoding lost events")
    with pytest.raises(BenchmarkError, match="Parts: decoding lost events"):
        _require(False, "decoding lost events")


def live(*sizes: int) -> list[LiveBlock]:
    def body(number: int) -> bytes:
        return b'{"source":"0:%d"}' % number

    return [LiveBlock([f"v{n}" for n in range(size)], [False] * size, [body(n) for n in range(size)]) for size in sizes]


@pytest.mark.parametrize("clients", [0, 1, 3])
async def test_a_crowd_is_sent_every_event_of_every_block(clients: int) -> None:
    seconds, received = await broadcast(clients, live(2, 5, 1))
    assert len(seconds) == 3
    assert all(spent_s >= 0 for spent_s in seconds)
    assert received == clients * 8


def test_a_broadcast_that_reached_everyone_is_a_part() -> None:
    part = _broadcast_to(2, live(*[3] * (WARM_UP_BLOCKS + 2)))
    assert part.name == "gateway: broadcast to 2"
    assert part.us_per_event.low >= 0


@pytest.mark.parametrize("received", [0, 35, 37])
def test_a_broadcast_that_lost_or_doubled_an_event_is_no_part(monkeypatch: pytest.MonkeyPatch, received: int) -> None:
    async def unfair(clients: int, blocks: Any) -> tuple[list[float], int]:
        return [0.1] * len(blocks), received

    monkeypatch.setattr(parts, "broadcast", unfair)
    with pytest.raises(BenchmarkError, match="2 clients were not sent everything"):
        _broadcast_to(2, live(*[3] * (WARM_UP_BLOCKS + 2)))


class Way(parts._Way):
    """An event's way with a scorer of its own."""

    def __init__(self, score: Any, rows: int) -> None:
        self._score = score
        self._features = [np.arange(rows, dtype=np.float32)[:, None]]


def by_rows(shift: float) -> Any:
    """Score each row by its number; one row alone by a little more where there are 64 to a block."""

    def score(features: Any) -> Any:
        rows = features[:, 0]
        return SimpleNamespace(error=rows + 1.0 + shift * ((rows == 3.0) & (len(rows) == 64)))

    return score


def test_blocks_of_every_size_that_say_the_same_are_parts() -> None:
    found = Way(by_rows(0.0005), 8_192).scorer_by_block_size()
    assert [part.name for part in found] == [f"scorer, {rows:,} a call" for rows in parts.BLOCK_SIZES]


def test_blocks_of_a_size_that_are_scored_otherwise_are_refused() -> None:
    with pytest.raises(BenchmarkError, match="blocks of 64 rows are scored unlike those of 8192"):
        Way(by_rows(50.0), 8_192).scorer_by_block_size()


class Decoder:
    """Loses the last event of every block, where it is told to."""

    loses = False

    def __init__(self, spec: Any) -> None:
        self._decoder = TelemetryDecoder(spec)

    def decode_block(self, values: Any, most_bytes: int) -> Any:
        return self._decoder.decode_block(values[: len(values) - self.loses], most_bytes)


@pytest.mark.parametrize(("loses", "sentence"), [(True, "decoding lost events"), (False, "nothing is unusual")])
def test_steps_that_lose_an_event_or_condemn_none_are_no_steps(
    monkeypatch: pytest.MonkeyPatch, loses: bool, sentence: str
) -> None:
    monkeypatch.setattr(parts, "BLOCK", 8)
    monkeypatch.setattr(parts, "TelemetryDecoder", Decoder)
    monkeypatch.setattr(parts, "local_scorer", lambda bundle: lambda features: Scores.none(len(features)))
    monkeypatch.setattr(Decoder, "loses", loses)
    with pytest.raises(BenchmarkError, match=f"Parts: {sentence}"):
        parts._Way(made_up_bundle(), 2, 20).steps()


# What the floor takes of a poll


class Polled:
    def __init__(self, partition: int, offset: int) -> None:
        self.place = partition, offset

    def partition(self) -> int:
        return self.place[0]

    def offset(self) -> int:
        return self.place[1]


@given(
    st.lists(st.integers(0, 2), max_size=40),
    st.dictionaries(st.integers(0, 2), st.integers(0, 15), max_size=3),
)
def test_the_floor_takes_what_is_before_each_end_and_nothing_behind_it(order: list[int], left: dict[int, int]) -> None:
    polled = [Polled(partition, order[:place].count(partition)) for place, partition in enumerate(order)]
    found = _by_partition(polled, left)  # type: ignore[arg-type]
    for partition in range(3):
        wanted = [
            message
            for message in polled
            if message.partition() == partition and message.offset() < left.get(partition, 0)
        ]
        assert found.get(partition, []) == wanted
        assert (partition in found) is bool(wanted)
