"""One case on a running system: calm under load, the fault, back to normal, drained, and the books.

What a case may do with the system stands here, so that each case reads as what happens and when it is over.

Neighbours: `cases` are functions of a `Trial`; `suite` runs them, `report` prints their results.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from random import Random
from typing import TypeAlias

import psutil

from faults import books
from faults.lag import LagWatch
from faults.load import FIRST_VEHICLE, VEHICLES, Content, Load
from faults.memory import MemoryWatch, grown
from faults.network import Api, Catch, Caught, KafkaLink, Moment
from faults.system import Say, System
from fleet.errors import FleetError, LocalServiceError
from fleet.settings import Settings
from launch.ray_cluster import title
from launch.serve_config import Config

RECOVERY_TIMEOUT_S = 90.0
DRAIN_TIMEOUT_S = 90.0
CATCH_TIMEOUT_S = 30.0
DEPLOY_TIMEOUT_S = 120.0
POLL_S = 0.1
MOST_CASES = 100  # each has vehicles of its own

Act: TypeAlias = "Callable[[Trial], None]"


@dataclass(frozen=True, slots=True)
class Case:
    """A fault: what it does (`act`), and within how many seconds of it the lag must be normal."""

    number: int
    name: str
    act: Act
    normal_within_s: float
    content: Callable[[Random], Content]
    workers: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What a case came to. `failures` are sentences about everything but the seconds."""

    number: int
    name: str
    seed: int
    events_per_second: float
    accepted: int
    lost: int | None
    doubled: int | None
    reordered: int | None
    normal_after_s: float | None
    normal_within_s: float
    peak_mib: Mapping[str, float]
    failures: list[str]
    notes: list[str]

    @property
    def is_late(self) -> bool:
        """Whether the lag was normal later than wanted, or never."""
        return self.normal_after_s is None or self.normal_after_s > self.normal_within_s

    @property
    def met_targets(self) -> bool:
        """Whether nothing failed, in time."""
        return not (self.failures or self.is_late)


@dataclass(slots=True)
class _Findings:
    recoveries_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Trial:
    """What a case is given: the system under load, chance with a seed, and the ways to strike and to wait."""

    def __init__(self, system: System, load: Load, random: Random, lag: LagWatch, say: Say, *, brief: bool) -> None:
        self.system, self.load, self.random = system, load, random
        self.loads = [load]
        self._brief = brief
        self.begin = books.ends(system.settings.kafka)
        self.findings = _Findings()
        self.lag, self._say = lag, say

    @property
    def settings(self) -> Settings:
        """The settings of the application."""
        return self.system.settings

    @property
    def lag_records(self) -> int:
        """How many records wait in all partitions, as last sampled."""
        return self.lag.samples[-1].total_lag_records

    @property
    def link(self) -> KafkaLink:
        """The system's link to Kafka."""
        return self.system.link

    def more_load(self, rate: float) -> Load:
        """Return so many events a second more, from other vehicles, for a context."""
        first = FIRST_VEHICLE + (MOST_CASES + len(self.loads)) * VEHICLES
        topic = self.settings.kafka.topics.telemetry
        self.loads.append(Load(topic, rate, self.random.getrandbits(32), first_vehicle=first))
        return self.loads[-1]

    def times(self, wanted: int, in_brief: int) -> int:
        """Return how often something is to be done: a brief run repeats less, and leaves the rest to other seeds."""
        return in_brief if self._brief else wanted

    # Strikes

    def any_process(self, role: str) -> psutil.Process:
        """Choose one process of a role by chance. Raises LocalServiceError when there is none."""
        if not (found := self.system.processes(role)):
            raise LocalServiceError(f"No {role} process is running.")
        return self.random.choice(found)

    def kill(self, process: psutil.Process, why: str = "") -> float:
        """End a process at once (SIGKILL); returns when, on the monotonic clock."""
        return self.signal(process, signal.SIGKILL, why)

    def signal(self, process: psutil.Process, number: signal.Signals, why: str = "") -> float:
        """Send a signal to a process; returns when, on the monotonic clock."""
        name = title(process).removeprefix("ray::")
        os.kill(process.pid, number)
        self.say(f"{number.name} to {name} (pid {process.pid}){why and ' '}{why}")
        return time.monotonic()

    def catch(self, api: Api, moment: Moment) -> Caught:
        """Hold the next such request of a partition's transactional producer on its way."""
        return self.link.catch(self.transactional(api, moment), CATCH_TIMEOUT_S)

    def transactional(self, api: Api, moment: Moment) -> Catch:
        """Describe such a request of any partition's transactional producer."""
        kafka = self.settings.kafka
        return Catch(api, moment, f"{kafka.application_id}-{kafka.topics.telemetry}-")

    # Waiting and finding

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait for a condition. Raises LocalServiceError that names it."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise LocalServiceError(f"Waited {timeout_s:.0f} s in vain for {what}.")
            time.sleep(POLL_S)

    def normal(self, since_s: float) -> None:
        """Wait until the lag is normal, and note the seconds. Raises LocalServiceError when it stays too large."""
        self.until(lambda: self.lag.recovered_after_s(since_s) is not None, "the lag to be normal", RECOVERY_TIMEOUT_S)
        seconds = self.lag.recovered_after_s(since_s) or 0.0
        self.findings.recoveries_s.append(seconds)
        self.say(f"lag normal after {seconds:.1f} s")

    def wait_until_normal(self) -> None:
        """Wait until the lag is normal; how long that took is no result of the case."""
        since_s = time.monotonic()
        self.until(lambda: self.lag.recovered_after_s(since_s) is not None, "the lag to be normal", RECOVERY_TIMEOUT_S)

    def recover(self, since_s: float) -> None:
        """Wait until the lag is normal, noting the seconds, and then until every replica is back."""
        self.normal(since_s)
        self.until(self.system.is_healthy, "every replica to be back", RECOVERY_TIMEOUT_S)
        self.say(f"all replicas back after {time.monotonic() - since_s:.0f} s")

    def redeploy(self, change: Callable[[Config], None], why: str) -> float:
        """Deploy a changed config and wait until it is carried out; returns when it was handed over."""
        handed_over_s = time.monotonic()
        self.system.deploy(change)
        self.until(self.system.is_deployed, f"{why} to be deployed", DEPLOY_TIMEOUT_S)
        self.say(f"{why}: deployed after {time.monotonic() - handed_over_s:.0f} s")
        return handed_over_s

    def flow(self, seconds: float) -> None:
        """Let the load run on for so long: the length of a fault, not a wait for something."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            time.sleep(left_s)

    def drain(self) -> None:
        """Stop the load and wait until everything that Kafka holds is committed."""
        self.load.stop()
        self.until(lambda: self.lag.is_drained_since(self.load.stopped_s), "the log to be drained", DRAIN_TIMEOUT_S)

    def expect(self, holds: bool, sentence: str) -> None:
        """Note a failure, in words, unless something holds."""
        if not holds:
            self.findings.failures.append(sentence)
            self.say(f"FAILED: {sentence}")

    def note(self, sentence: str) -> None:
        """Keep a sentence for the report."""
        self.findings.notes.append(sentence)
        self.say(sentence)

    def say(self, line: str) -> None:
        """Say what happens now."""
        self._say(f"    {time.strftime('%H:%M:%S')} {line}")


def run_case(case: Case, system: System, seed: int, rate: float, say: Say, *, brief: bool = False) -> Result:
    """Run a case on a system that is at rest; whatever goes wrong stands in the result."""
    say(f"\nCase {case.number}: {case.name} (seed {seed})")
    random = Random(f"{seed}:{case.number}")
    topic, first = system.settings.kafka.topics.telemetry, FIRST_VEHICLE + case.number * VEHICLES
    load = Load(topic, rate, random.getrandbits(32), case.content(random), first)  # vehicles without a past
    with LagWatch(system.settings.kafka, rate) as lag, MemoryWatch(system) as memory:
        trial = Trial(system, load, random, lag, say, brief=brief)
        levels: Mapping[str, float] = {}
        try:
            with load:
                trial.recover(time.monotonic())
                trial.findings.recoveries_s.clear()
                levels = memory.levels_mib()
                case.act(trial)
        except FleetError as error:
            trial.expect(False, str(error))
        _settle(trial)
        return _result(case, trial, seed, memory, levels)


def _settle(trial: Trial) -> None:
    """Wait until everything that Kafka holds is committed and the system is whole."""
    trial.system.link.release()
    try:
        trial.drain()
        trial.until(trial.system.is_healthy, "the system to be healthy", DRAIN_TIMEOUT_S)
    except FleetError as error:
        trial.expect(False, str(error))


def _balance(trial: Trial) -> books.Balance:
    try:
        return books.balance(trial.settings, trial.begin, list(chain(*(load.accepted for load in trial.loads))))
    except FleetError as error:
        return books.Balance(len(trial.load.accepted), None, None, None, [f"The books could not be read: {error}"])


def _result(case: Case, trial: Trial, seed: int, memory: MemoryWatch, levels: Mapping[str, float]) -> Result:
    load, findings = trial.load, trial.findings
    balance = _balance(trial)
    for sentence in [*balance.sentences, *grown(levels, memory.levels_mib())]:
        trial.expect(False, sentence)
    for reason, count in load.refused.items():
        trial.note(f"Kafka refused {count:,} events: {reason}")
    return Result(
        number=case.number,
        name=case.name,
        seed=seed,
        events_per_second=load.sent / max(load.seconds, 1e-9),
        accepted=balance.events,
        lost=balance.lost,
        doubled=balance.doubled,
        reordered=balance.reordered,
        normal_after_s=max(findings.recoveries_s, default=None),
        normal_within_s=case.normal_within_s,
        peak_mib=dict(memory.peak_mib),
        failures=findings.failures,
        notes=findings.notes,
    )
