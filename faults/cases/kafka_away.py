"""Faults of Kafka and of the way to it."""

import time

import psutil

from faults.cases.register import OF_KAFKA_S, case
from faults.network import Api, Condition, Moment, State
from faults.system import INGEST
from faults.trial import Trial

AWAY_S = 30.0
# Of one core: what a member may use that can do nothing but try again.
MOST_BUSY = 0.5
SLOW = Condition(delay_s=0.05, bytes_per_s=2_000_000)
SLOW_S = 20.0
NOTICED_TIMEOUT_S = 30.0


@case(8, "kill -9 Kafka in mid-transaction and restart it", OF_KAFKA_S)
def kafka_killed(trial: Trial) -> None:
    """Kill the broker when a transaction's records are written and its offsets are not, and start it again."""
    caught = trial.catch(Api.ADD_OFFSETS, Moment.BEFORE)
    trial.system.kafka.kill()
    trial.link.release()
    trial.say(f"kill -9 of Kafka before ADD_OFFSETS of {caught.client_id}")
    start_kafka_again(trial)


def start_kafka_again(trial: Trial) -> None:
    """Start the broker that has ended; counted from when it answers."""
    trial.system.kafka.start()
    trial.say(f"Kafka answers again after {trial.system.kafka.start_seconds:.1f} s")
    trial.recover(time.monotonic())


@case(9, "Kafka unreachable for 30 s: refused, and silent", OF_KAFKA_S)
def kafka_unreachable(trial: Trial) -> None:
    """Cut the system off while vehicles go on: connections that are refused, then some that say nothing."""
    for state in (State.REFUSED, State.SILENT):
        busy = _Busy(trial)
        with trial.link.being(Condition(state)):
            trial.say(f"every connection to Kafka is {state.value}")
            trial.flow(AWAY_S)
            share = busy.share()
        trial.note(f"{state.value}: the busiest ingest took {share:.0%} of a core")
        trial.expect(share <= MOST_BUSY, f"an ingest without Kafka took {share:.0%} of a core ({state.value})")
        trial.recover(time.monotonic())


@case(10, "a slow link to Kafka", OF_KAFKA_S)
def kafka_slow(trial: Trial) -> None:
    """Let every request and every answer take 50 ms more, at 2 MB/s a connection; then as before."""
    with trial.link.being(SLOW):
        trial.flow(SLOW_S)
        behind = trial.lag_records
    trial.note(f"{behind:,} records behind at the end of {SLOW_S:.0f} s of a slow link")
    trial.recover(time.monotonic())


@case(20, "Kafka's disk full, then freed", OF_KAFKA_S)
def disk_full(trial: Trial) -> None:
    """Let no file of the broker grow any more; once it has given up, start it without that limit.

    A limit on the process and not a full disk, because that takes no right to mount one; the broker's log directory
    fails in the same way (seen with both).
    """
    broker = psutil.Process(trial.system.kafka.pid)
    broker.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))
    full_s = time.monotonic()
    trial.until(lambda: trial.system.kafka.wait(0) is not None, "the broker to give up", NOTICED_TIMEOUT_S)
    trial.note(f"the broker gave up {time.monotonic() - full_s:.1f} s after its disk was full")
    start_kafka_again(trial)


class _Busy:
    """How much of a core the ingest processes use from now on."""

    def __init__(self, trial: Trial) -> None:
        self._began_s = time.monotonic()
        self._processes = trial.system.processes(INGEST)
        self._before_s = [_cpu_s(process) for process in self._processes]

    def share(self) -> float:
        """Return that of the busiest."""
        seconds = time.monotonic() - self._began_s
        used_s = [_cpu_s(p) - before_s for p, before_s in zip(self._processes, self._before_s, strict=True)]
        return max(used_s, default=0.0) / seconds


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
