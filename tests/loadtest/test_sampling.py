"""The one thread that samples: how often, never twice at once, and how it ends."""

import threading
import time

import pytest

from loadtest.sampling import Sampler

PATIENCE_S = 20.0


class Seen:
    """Counts calls, and lets a test wait for them."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, PATIENCE_S)


def test_sampler_calls_again_and_again_until_its_context_is_left() -> None:
    seen = Seen()
    with Sampler(seen, 0.01, "sampler") as sampler:
        assert sampler.is_running
        seen.wait_for(3)
    assert not sampler.is_running
    count = seen.count
    assert not any(thread.name == "sampler" for thread in threading.enumerate())
    assert seen.count == count


def test_sampler_waits_an_interval_before_the_first_call() -> None:
    seen, began_s = Seen(), time.monotonic()
    with Sampler(seen, 0.2, "sampler"):
        seen.wait_for(1)
        assert time.monotonic() - began_s >= 0.2


def test_sampler_ends_at_once_in_the_middle_of_an_interval() -> None:
    seen = Seen()
    with Sampler(seen, 3_600.0, "sampler"):
        pass
    assert seen.count == 0


def test_sampler_lets_the_call_under_way_end_before_it_stops() -> None:
    entered, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        may_end.wait(PATIENCE_S)
        ended.set()

    sampler = Sampler(slow, 0.001, "sampler")
    sampler.start()
    assert entered.wait(PATIENCE_S)
    sampler.stop(timeout_s=0.01)
    assert sampler.is_running
    may_end.set()
    sampler.stop()
    assert ended.is_set()
    assert not sampler.is_running


def test_sampler_may_be_stopped_twice_and_before_its_start() -> None:
    sampler = Sampler(lambda: None, 0.01, "sampler")
    sampler.stop()
    sampler = Sampler(lambda: None, 0.01, "sampler")
    sampler.start()
    sampler.stop()
    sampler.stop()
    with pytest.raises(RuntimeError):
        sampler.start()
