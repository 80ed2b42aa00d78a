"""A Ray Serve application as tutorials have it: a consumer that calls a deployment once per event.

Many calls are in flight at once, and Serve's batching merges them; results are published in the order of the log, at
least once. Runs in the product's own environment.
"""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import ray
from confluent_kafka import Consumer, Message, Producer
from ray import serve

from benchmarks.peers.arguments import Arguments, read_arguments
from benchmarks.record_scoring import RecordScoring, local_scorer
from fleet.detection.model.bundle import read_bundle
from fleet.detection.verdicts import Scores

IN_FLIGHT = 256
LINGER_S = 0.02


@serve.deployment(max_ongoing_requests=2 * IN_FLIGHT)
class OneEvent:
    """Scores one event a call."""

    def __init__(self, models: str) -> None:
        self._score = local_scorer(read_bundle(Path(models)))

    async def score(self, features: Any) -> Scores:
        """Score features float32[K]."""
        scores: Scores = await self._batch(features)
        return scores

    @serve.batch(max_batch_size=IN_FLIGHT, batch_wait_timeout_s=0.002)
    async def _batch(self, rows: list[Any]) -> list[Scores]:
        scores = self._score(np.stack(rows))
        return [scores.rows(i, i + 1) for i in range(len(rows))]


class Caller:
    """Reads, calls, writes."""

    def __init__(self, arguments: Arguments, handle: Any) -> None:
        assert arguments.models is not None
        self._scoring = RecordScoring(arguments.models)
        self._score, self._scored_topic = handle.score, arguments.scored
        brokers = {"bootstrap.servers": arguments.bootstrap_servers}
        self._producer = Producer({**brokers, "enable.idempotence": True, "linger.ms": 5})
        self._consumer = Consumer(
            {
                **brokers,
                "group.id": arguments.group_id,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        self._consumer.subscribe([arguments.telemetry])

    async def run(self) -> None:
        """Run until killed."""
        while True:
            if messages := await asyncio.to_thread(self._consumer.consume, IN_FLIGHT, LINGER_S):
                for message, result in zip(messages, await asyncio.gather(*map(self._scored, messages)), strict=True):
                    self._producer.produce(self._scored_topic, result(), message.key(), partition=message.partition())
                await asyncio.to_thread(self._producer.flush)
                self._consumer.commit(asynchronous=False)

    async def _scored(self, message: Message) -> Any:
        """Call for one event; what is returned judges it, when it is its turn."""
        place = message.partition(), [message.offset()], [message.timestamp()[1]]
        records = self._scoring.enter(*place, [message.value()])
        scores = await self._score.remote(records.features[0])
        return lambda: self._scoring.conclude(records, scores).values[0]


def main() -> None:
    """Run until killed."""
    arguments = read_arguments()
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    handle = serve.run(OneEvent.bind(str(arguments.models)), name="one-call-per-event", route_prefix=None)
    asyncio.run(Caller(arguments, handle).run())


if __name__ == "__main__":
    main()
