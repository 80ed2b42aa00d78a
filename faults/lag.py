"""How far the system is behind, by Kafka's own offsets, sampled all the time; and when it was back to normal.

Normal: no partition has more unscored records than arrive there in about a second.

Neighbours: `fleet.kafka.partition_ledgers` reads the offsets, `trial` asks for the seconds.
"""

import time
from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple, Self

from fleet.errors import KafkaUnavailableError
from fleet.kafka import KafkaException, ledger_reader, partition_ledgers
from fleet.settings import KafkaSettings
from loadtest.sampling import Sampler

INTERVAL_S = 0.2
HOLD_S = 3.0  # normal for so long is normal again
SECONDS_OF_LOAD = 1.0
UNEVENNESS = 1.25  # of the keys' hashes over the partitions


class Sample(NamedTuple):
    """The largest lag of a partition at a monotonic time; None when Kafka did not answer."""

    at_s: float
    largest_lag_records: int | None
    total_lag_records: int = 0


def recovered_after_s(samples: Sequence[Sample], since_s: float, normal_records: float, hold_s: float) -> float | None:
    """Return the seconds from `since_s` to the beginning of the first stretch of `hold_s` that is normal throughout.

    None while there is none. 0 where nothing was ever wrong.
    """
    began_s: float | None = None
    for sample in samples:
        if sample.at_s < since_s:
            continue
        if sample.largest_lag_records is None or sample.largest_lag_records > normal_records:
            began_s = None
        elif began_s is None:
            began_s = since_s if sample.at_s - since_s <= 2 * INTERVAL_S else sample.at_s
        if began_s is not None and sample.at_s - began_s >= hold_s:
            return began_s - since_s
    return None


class LagWatch:
    """Samples until the context is left."""

    def __init__(self, kafka: KafkaSettings, rate: float) -> None:
        self._kafka = kafka
        self.normal_records = UNEVENNESS * SECONDS_OF_LOAD * rate / kafka.partitions
        self.samples: list[Sample] = []
        self._reader = ledger_reader(kafka)
        self._sampler = Sampler(self._sample, INTERVAL_S, "faults-lag")

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sampler.stop()
        self._reader.close()

    def recovered_after_s(self, since_s: float) -> float | None:
        """Return the seconds from a monotonic time to the normal lag that has held since; None while it has not."""
        return recovered_after_s(self.samples, since_s, self.normal_records, HOLD_S)

    def mean_records(self, seconds: float) -> float:
        """Return how many records were behind on average over the last seconds, over all partitions."""
        since_s = time.monotonic() - seconds
        recent = [s.total_lag_records for s in self.samples if s.at_s >= since_s and s.largest_lag_records is not None]
        return mean(recent) if recent else 0.0

    def is_drained_since(self, since_s: float) -> bool:
        """Whether a sample taken after a monotonic time says that everything is committed."""
        return bool(self.samples) and self.samples[-1].at_s > since_s and self.samples[-1].largest_lag_records == 0

    def _sample(self) -> None:
        asked_s = time.monotonic()
        try:
            lags = [ledger.lag_records for ledger in partition_ledgers(self._reader, self._kafka)]
        except (KafkaUnavailableError, KafkaException):
            self.samples.append(Sample(asked_s, None))
        else:
            self.samples.append(Sample(asked_s, max(lags), sum(lags)))
