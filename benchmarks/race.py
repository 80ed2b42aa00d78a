"""One lap: a segment becomes visible in one moment, and the clock runs until its last result is committed.

The clock is the broker's word, sampled: up to which offset a read_committed reader gets in the scored topic. Which of
these offsets holds the last result is known afterwards, when the results are read to be checked; so reading them costs
nothing while the clock runs.

Neighbours: `workload` loads, `contestant` runs, `verdicts` reads and checks what came out.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from benchmarks.contestant import Contestant
from benchmarks.costs import Roles, cpu_seconds, peak_mib, spent, tree
from benchmarks.verdicts import Verdicts, read_verdicts
from benchmarks.workload import Loader, Segment
from fleet.errors import LocalServiceError
from fleet.kafka import OffsetRange, admin_client, client_config, held_offsets

SAMPLE_S = 0.02
ASK_GROUP_S = 0.25
ANSWER_TIMEOUT_S = 10.0
LAP_TIMEOUT_S = 180.0

Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Lap:
    """What one lap came to: seconds, CPU seconds and peak MiB by role."""

    contestant: str
    events: int
    seconds: float
    cpu_s: Mapping[str, float]
    peak_mib: Mapping[str, float]

    @property
    def events_per_second(self) -> float:
        """Events from becoming visible to committed results, per second."""
        return self.events / self.seconds

    def cpu_us(self) -> dict[str, float]:
        """CPU microseconds per event, by role."""
        return {role: seconds / self.events * 1e6 for role, seconds in self.cpu_s.items()}


class Course:
    """A contestant's way from its telemetry topic to its scored topic; laps follow one another."""

    def __init__(self, contestant: Contestant, kafka_pid: int) -> None:
        self.contestant = contestant
        self._kafka_pid = kafka_pid
        self._loader = Loader(contestant.telemetry)
        self._admin = admin_client()
        self._group = Consumer(
            {
                **client_config(),
                "group.id": contestant.group_id,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",  # offsets of an open transaction are not finished
                "log_level": 2,
            }
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._group.close()

    def lap(self, segment: Segment) -> tuple[Lap, Verdicts]:
        """Run a segment and check that every event came out once and in order; returns also what was said.

        Raises LocalServiceError when it does not finish in time, BenchmarkError for a wrong result.
        """
        begins_at = _next_offsets(held_offsets(self._admin, self.contestant.scored, committed=True))
        ranges = self._loader.write(segment)
        self.contestant.announce(ranges)
        before = cpu_seconds(self._roles())
        began_s = time.monotonic()
        self._loader.commit()
        samples = self._until_finished(ranges, began_s + LAP_TIMEOUT_S)
        cpu_s = spent(before, cpu_seconds(self._roles()))
        verdicts = read_verdicts(self.contestant.scored, begins_at, samples[-1][1], ranges)
        ended_s = _first_with(samples, verdicts.last_offsets)
        seconds, peak = ended_s - began_s, peak_mib(self._roles())
        return Lap(self.contestant.name, len(segment.values), seconds, cpu_s, peak), verdicts

    def idle_cpu_share(self, seconds: float) -> dict[str, float]:
        """Return how much of a core each role uses while nothing comes in."""
        before = cpu_seconds(self._roles())
        time.sleep(seconds)  # what is measured is this length of nothing
        return {role: used / seconds for role, used in spent(before, cpu_seconds(self._roles())).items()}

    def _roles(self) -> Roles:
        return {**self.contestant.roles(), "kafka": tree(self._kafka_pid)}

    def _until_finished(self, ranges: Mapping[int, OffsetRange], deadline_s: float) -> list[tuple[float, Offsets]]:
        """Sample how far the scored topic is committed until the group has committed all; the last one is final.

        A transaction ends in one partition after the other: the group's offsets may be there before the results.
        """
        samples: list[tuple[float, Offsets]] = []
        ask_at_s, has_finished = 0.0, False
        while True:
            if ends := self._ends(ranges, IsolationLevel.READ_COMMITTED):
                samples.append((time.monotonic(), ends))
            if has_finished and ends and ends == self._ends(ranges, IsolationLevel.READ_UNCOMMITTED):
                return samples
            if not has_finished and time.monotonic() > ask_at_s:
                has_finished = self._group_has_finished(ranges)
                ask_at_s = time.monotonic() + ASK_GROUP_S
            if time.monotonic() > deadline_s:
                raise LocalServiceError(f"{self.contestant.name} did not finish a lap within {LAP_TIMEOUT_S:.0f} s.")
            time.sleep(SAMPLE_S)

    def _ends(self, partitions: Mapping[int, object], isolation: IsolationLevel) -> dict[int, int]:
        """Ask where partitions of the scored topic end; empty where Kafka did not answer this time."""
        asked = {TopicPartition(self.contestant.scored, partition): OffsetSpec.latest() for partition in partitions}
        try:
            answers = self._admin.list_offsets(asked, isolation_level=isolation)
            return {position.partition: answer.result(ANSWER_TIMEOUT_S).offset for position, answer in answers.items()}
        except (KafkaException, TimeoutError):
            # A broker that was too busy to be heard of elects itself anew, which an old administrator never learns.
            self._admin = admin_client()
            return {}

    def _group_has_finished(self, ranges: Mapping[int, OffsetRange]) -> bool:
        wanted = [TopicPartition(self.contestant.telemetry, partition) for partition in ranges]
        try:
            found = self._group.committed(wanted, timeout=ANSWER_TIMEOUT_S)
        except KafkaException:
            return False  # it is asked again
        return all(position.offset >= ranges[position.partition].next for position in found)


def _next_offsets(held: Mapping[int, OffsetRange]) -> dict[int, int]:
    return {partition: offsets.next for partition, offsets in held.items()}


def _first_with(samples: Sequence[tuple[float, Offsets]], last_offsets: Offsets) -> float:
    """Return the time of the first sample in which these records were committed."""
    for at_s, ends in samples:
        if all(ends[partition] > offset for partition, offset in last_offsets.items()):
            return at_s
    raise LocalServiceError("Results came after their offsets were committed.")
