"""The soak: what it looks at in each stretch, and that nothing may be missing at the end."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import soak
from benchmarks.open_loop import Sent
from benchmarks.soak import STRETCHES, Stretch, missing_of
from benchmarks.verdicts import BenchmarkError

BEFORE = {"scored": 100, "dropped": 3}


def now(scored: int, dropped: int = 0) -> dict[str, int]:
    return {"scored": BEFORE["scored"] + scored, "dropped": BEFORE["dropped"] + dropped}


def test_each_event_scored_once_and_shown_is_complete() -> None:
    assert missing_of(50, BEFORE, now(50), shown=50) == ""


def test_what_was_counted_as_dropped_need_not_be_shown() -> None:
    assert missing_of(50, BEFORE, now(50, dropped=8), shown=42) == ""


@pytest.mark.parametrize(
    ("scored", "shown", "dropped"), [(49, 50, 0), (51, 50, 0), (50, 49, 0), (50, 51, 0), (50, 50, 1), (50, 41, 8)]
)
def test_one_event_too_few_or_too_many_is_told(scored: int, shown: int, dropped: int) -> None:
    sentence = f"Of 50 events {scored} were scored, {shown} shown and {dropped} counted as dropped."
    assert missing_of(50, BEFORE, now(scored, dropped), shown) == sentence


@given(*[st.integers(0, 5)] * 4)
def test_complete_is_all_scored_and_all_shown_or_dropped(sent: int, scored: int, shown: int, dropped: int) -> None:
    is_complete = scored == sent and shown + dropped == sent
    assert (missing_of(sent, BEFORE, now(scored, dropped), shown) == "") is is_complete


class System:
    """Says what a gateway would, one thing after another; the last for ever."""

    telemetry, scored, url = "telemetry", "scored", "http://127.0.0.1:1"

    def __init__(self, *said: dict[str, Any]) -> None:
        self._said = list(said)

    def pipeline(self) -> dict[str, Any]:
        return self._said.pop(0) if len(self._said) > 1 else self._said[0]

    def roles(self) -> Any:
        return {"gateway": [psutil.Process()]}


def test_what_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "POLL_S", 0.001)
    system: Any = System(now(48), now(49), now(50))
    page: Any = SimpleNamespace(events=50)
    soak._check(system, BEFORE, page, 50)
    assert system.pipeline() == now(50)


def test_what_never_comes_leaves_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "POLL_S", 0.001)
    monkeypatch.setattr(soak, "DRAIN_TIMEOUT_S", 0.05)
    system: Any = System(now(49))
    page: Any = SimpleNamespace(events=49)
    with pytest.raises(BenchmarkError, match="Of 50 events 49 were scored, 49 shown and 0 counted as dropped"):
        soak._check(system, BEFORE, page, 50)


def test_a_page_counts_the_events_of_every_frame() -> None:
    page = soak._Page("http://127.0.0.1:1")
    page.take(b'[{"source":"0:1"},{"source":"0:2"}]')
    page.take(b'[{"source":"1:1"}]')
    page.take(b"[]")
    assert page.events == 3


class Page:
    """Is shown 100 events a look."""

    def __init__(self, _url: str) -> None:
        self._events = 0

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def events(self) -> int:
        self._events += 100
        return self._events


def run(monkeypatch: pytest.MonkeyPatch, sent: int) -> list[Stretch]:
    @contextmanager
    def load(*_: object) -> Iterator[Any]:
        yield SimpleNamespace(process=psutil.Process(), finished=lambda seconds: Sent(sent, 0.0, 0.0))

    for name in ("keep_the_newest", "stamp_when_appended"):
        monkeypatch.setattr(soak, name, lambda *_: None)
    monkeypatch.setattr(soak, "open_loop", load)
    monkeypatch.setattr(soak, "_Page", Page)
    monkeypatch.setattr(soak, "DRAIN_TIMEOUT_S", 0.0)
    said = {"latencyMs": {"p50": 20.0, "p99": None}, "lag": 7}
    system: Any = System({**said, **now(0)}, *[{**said, **now(0)}] * STRETCHES, {**said, **now(2_100)})
    return soak.run(system, psutil.Process().pid, 0.5, 10_000, lambda _: None)


def test_a_run_is_looked_at_in_equal_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    began_s = time.monotonic()
    stretches = run(monkeypatch, 2_100)
    assert time.monotonic() - began_s >= 1.0  # as long a warm-up as a short run is
    assert len(stretches) == STRETCHES
    assert [stretch.ended_s for stretch in stretches] == sorted(stretch.ended_s for stretch in stretches)
    for stretch in stretches:
        assert stretch.shown_per_second == pytest.approx(100 * STRETCHES / 0.5)
        assert (stretch.latency_ms, stretch.lag) == ({"p50": 20.0, "p99": None}, 7)
        assert set(stretch.resident_mib) == set(stretch.core_share) == {"gateway", "kafka", "generator"}
        assert all(share >= 0 and math.isfinite(share) for share in stretch.core_share.values())


def test_a_run_that_lost_one_event_has_no_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchmarkError, match="Of 2,101 events 2,100 were scored"):
        run(monkeypatch, 2_101)
