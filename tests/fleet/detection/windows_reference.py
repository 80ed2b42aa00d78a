"""What windows compute, in plain Python: one vehicle with one channel, event by event."""

import math
from dataclasses import dataclass, field
from typing import get_args

from fleet.detection.window_kernel import FADING, HIGHEST_RATE, LATE_RUN, LONGEST_MEMORY, TRUSTED_EVENTS
from fleet.events.channels import FeatureKind
from tests.fleet.detection.windows_harness import GAP_S, NAN


def mean(before: float, value: float, count: int, span: int) -> float:
    """The plain mean of as many values as it spans, from then on an exponential one."""
    return before + (value - before) / min(count, span)


def surprise(run: int, rate: float, events: int) -> float:
    return math.log(1 - run * math.log(1 - min(rate * min(1.0, events / TRUSTED_EVENTS), HIGHEST_RATE))) if run else 0.0


def rate_after(rate: float, events: int, run: int) -> float:
    memory = min(events, LONGEST_MEMORY)
    return (rate * memory + 1) / (memory + run + 1)


@dataclass
class Past:
    """All known values of the one channel since its history began, and what it made of them."""

    values: list[float] = field(default_factory=list)
    means: dict[int, float] = field(default_factory=lambda: dict.fromkeys((5, 30, 120, 480), 0.0))
    mean5_before: float = 0.0
    run: int = 0
    change_rate: float = 0.5
    absent: int = 0
    seen_rate: float = 0.5
    peak: float = 0.0

    def take(self, value: float) -> None:
        if math.isnan(value):
            self.absent += bool(self.values)
            return
        if self.values:
            self.seen_rate = rate_after(self.seen_rate, len(self.values), self.absent)
            self.take_step(value - self.values[-1])
        self.absent = 0
        self.peak = max(self.peak * FADING, value) if self.values else value
        self.values.append(value)
        self.mean5_before = self.means[5]
        for span in self.means:
            self.means[span] = mean(self.means[span], value, len(self.values), span)

    def take_step(self, step: float) -> None:
        steps = len(self.values)
        if step:
            self.change_rate = rate_after(self.change_rate, steps + 1, self.run)
        self.run = 0 if step else self.run + 1

    def features(self, value: float, pace_s: float) -> dict[str, float]:
        count, means = len(self.values), self.means
        known = {
            "level": value,
            "fast": value - self.mean5_before,
            "medium": (means[5] - means[30]) / pace_s,
            "slow": (means[30] - means[120]) / pace_s,
            "drift": (means[120] - means[480]) / pace_s,
            "mean5": means[5],
            "mean30": means[30],
            "frozen": surprise(self.run, self.change_rate, count),
            "peak": self.peak,
        }
        found = known if not math.isnan(value) else dict.fromkeys(known, NAN)
        return {**found, "lost": surprise(self.absent, self.seen_rate, count) if count else NAN}


@dataclass
class Reference:
    """One vehicle with one channel, event by event; there is no log and so no lag."""

    latest_s: float | None = None
    value: float = NAN
    events: int = 0
    past: Past = field(default_factory=Past)
    log_interval: float = 0.0
    spread: float = 0.0
    interval_mean: float = 0.0
    late: list[float] = field(default_factory=list)
    set_back_s: float = 0.0

    def push(self, time_s: float, value: float) -> tuple[dict[str, float], bool, bool]:
        """Return the features, and whether it is warming up, and a repeat."""
        interval_s = NAN if self.latest_s is None else time_s - self.latest_s
        self.set_back_s = max(-interval_s if interval_s <= 0 else 0.0, self.set_back_s * FADING**1.5)
        self.set_back_s *= self.set_back_s >= 1
        repeat = interval_s == 0 and (value == self.value or (math.isnan(value) and math.isnan(self.value)))
        if repeat or (interval_s <= 0 and not self.was_set_back(time_s)):
            told = {"interval": NAN, "log_interval": NAN}
            return {**dict.fromkeys(get_args(FeatureKind), NAN), "level": value, **self.timing(), **told}, True, repeat
        warming_up = not 0 < interval_s <= GAP_S
        if warming_up:
            self.past, self.events, self.spread, self.interval_mean = Past(), 0, 0.0, 0.0
        unusual = self.unusual(interval_s) if not warming_up and self.events >= 3 else NAN
        self.past.take(value)
        self.remember_time(NAN if warming_up else interval_s, unusual)
        self.latest_s, self.value, self.late = time_s, value, []
        told = {
            "interval": unusual,
            "log_interval": NAN if warming_up else math.log(interval_s),
        }
        pace_s = max(math.exp(self.log_interval), 1.0) if self.events >= 3 else 1.0
        return {**self.past.features(value, pace_s), **self.timing(), **told}, warming_up, False

    def was_set_back(self, time_s: float) -> bool:
        self.late = [*self.late, time_s] if self.late and time_s > self.late[-1] else [time_s]
        return len(self.late) >= LATE_RUN

    def unusual(self, interval_s: float) -> float:
        return (math.log(interval_s) - self.log_interval) / (0.15 + 2 * self.spread)

    def remember_time(self, interval_s: float, unusual: float) -> None:
        self.events += 1
        if self.events == 2:
            self.log_interval = math.log(interval_s)
        elif self.events > 2:
            off, span = math.log(interval_s) - self.log_interval, min(self.events - 1, 120)
            self.log_interval += max(-1.0, min(off, 1.0)) / span
            self.spread += (min(abs(off), 1.0) - self.spread) / span
        if not math.isnan(unusual):
            self.interval_mean += (max(-20.0, min(unusual, 20.0)) - self.interval_mean) / 5

    def timing(self) -> dict[str, float]:
        behind = math.log1p(self.set_back_s)
        return {"interval_mean": self.interval_mean, "ahead": 0.0, "behind": behind, "history": math.log1p(self.events)}
