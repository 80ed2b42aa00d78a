"""Faults of the ingest group: members that come and go, and partitions that come."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from faults.cases.register import OF_A_NODE_S, OF_A_PROCESS_S, case
from faults.system import INGEST
from faults.trial import Trial
from fleet import kafka
from fleet.errors import LocalServiceError
from fleet.kafka import Consumer, KafkaException
from launch.serve_config import Config, arguments_of

STORM_S = 120.0
LONGEST_CALM_S = 4.0  # between two changes of the group
MOST_GUESTS = 2
A_KILL_IN = 8  # changes, on the average
POLL_S = 0.1
ADDED = 2
PICKED_UP_TIMEOUT_S = 40.0


class _Guests:
    """Members of the ingest group that own partitions for a while and do nothing with them."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._members: list[Consumer] = []
        self.came = 0

    def change(self) -> None:
        """Let one come or one leave, by chance."""
        if self._members and (len(self._members) == MOST_GUESTS or self._trial.random.random() < 0.5):
            self._members.pop(self._trial.random.randrange(len(self._members))).close()
        else:
            settings = self._trial.settings
            member = kafka.ingest_consumer(settings.kafka, settings.ingest)
            member.subscribe([settings.kafka.topics.telemetry])
            self._members.append(member)
            self.came += 1

    def take_part(self) -> None:
        """Answer the group; what the members are given to read is of no interest."""
        for member in self._members:
            member.consume(1_000, 0.0)

    def leave(self) -> None:
        for member in self._members:
            member.close()
        self._members.clear()


@case(11, "a rebalance storm for two minutes", OF_A_PROCESS_S)
def rebalance_storm(trial: Trial) -> None:
    """Let members of the group come and go every few seconds, and kill one of ours now and then."""
    kills = 0
    with _guests(trial) as guests:
        ends_s = time.monotonic() + STORM_S
        while time.monotonic() < ends_s:
            guests.change()
            if trial.random.randrange(A_KILL_IN) == 0 and len(trial.system.processes(INGEST)) > 1:
                trial.kill(trial.any_process(INGEST))
                kills += 1
            calm_until_s = time.monotonic() + trial.random.uniform(0.5, LONGEST_CALM_S)
            while time.monotonic() < calm_until_s:
                guests.take_part()
                trial.flow(POLL_S)
        behind = trial.lag_records
    trial.note(f"{guests.came} guests came and went, {kills} members were killed; {behind:,} records behind at the end")
    trial.recover(time.monotonic())


@contextmanager
def _guests(trial: Trial) -> Iterator[_Guests]:
    guests = _Guests(trial)
    try:
        yield guests
    finally:
        guests.leave()


@case(12, "partitions added under load", OF_A_NODE_S)
def partitions_added(trial: Trial) -> None:
    """Add partitions as the documentation says: to what comes out first, then to the telemetry, then the setting."""
    settings = trial.settings.kafka
    topics, count = settings.topics, settings.partitions + ADDED
    added_s = time.monotonic()
    for topic in (topics.scored, topics.episodes, topics.dlq, topics.state, topics.telemetry):
        _add_partitions(topic, count)
    trial.say(f"every topic has {count} partitions")
    reader = kafka.ledger_reader(settings)
    trial.until(
        lambda: all(
            ledger.committed_offset is not None for ledger in kafka.partition_ledgers(reader, settings)[-ADDED:]
        ),
        "the group to own the new partitions",
        PICKED_UP_TIMEOUT_S,
    )
    reader.close()
    trial.note(f"the new partitions were read and committed after {time.monotonic() - added_s:.0f} s")
    trial.recover(added_s)

    def more_partitions(config: Config) -> None:
        arguments_of(config)["kafka"]["partitions"] = count

    trial.recover(trial.redeploy(more_partitions, f"kafka.partitions = {count}"))


def _add_partitions(topic: str, count: int) -> None:
    admin = kafka.admin_client()  # its answers come as long as it lives
    [answer] = admin.create_partitions([kafka.NewPartitions(topic, count)]).values()
    try:
        answer.result(kafka.REQUEST_TIMEOUT_S)
    except KafkaException as refusal:
        raise LocalServiceError(f"{topic} was not given {count} partitions: {refusal.args[0].str()}.") from None
