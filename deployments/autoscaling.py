"""The policy that scales the ingest pool on consumer lag. It runs in Serve's controller: no I/O here."""

import math
from typing import Any

from ray.serve.config import AutoscalingContext


class ScaleOnLag:
    """Wants a replica per `records_per_replica` of lag, and never more replicas than there are partitions.

    Serve's own `upscale_delay_s` and `downscale_delay_s` decide how long a wish must last.
    """

    def __init__(self, records_per_replica: int, partitions: int) -> None:
        self._records_per_replica, self._partitions = records_per_replica, partitions

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Return the number of replicas wanted, and no state."""
        lag = (ctx.aggregated_metrics or {}).get("lag_records", {})
        if not lag:
            return ctx.target_num_replicas, {}
        return wanted_replicas(sum(lag.values()), self._records_per_replica, self._partitions), {}


def wanted_replicas(lag_records: float, records_per_replica: int, partitions: int) -> int:
    """Return how many replicas a lag asks for: at least one, at most one per partition."""
    return max(1, min(math.ceil(lag_records / records_per_replica), partitions))
