"""Faults of Kafka and of the way to it."""

import time

from faults.cases.register import OF_KAFKA_S, case
from faults.network import Api, Moment
from faults.trial import Trial


@case(8, "kill -9 Kafka in mid-transaction and restart it", OF_KAFKA_S)
def kafka_killed(trial: Trial) -> None:
    """Kill the broker when a transaction's records are written and its offsets are not, and start it again."""
    caught = trial.catch(Api.ADD_OFFSETS, Moment.BEFORE)
    trial.system.kafka.kill()
    trial.link.release()
    trial.say(f"kill -9 of Kafka before ADD_OFFSETS of {caught.client_id}")
    trial.system.kafka.start()
    trial.say(f"Kafka answers again after {trial.system.kafka.start_seconds:.1f} s")
    trial.recover(time.monotonic())
