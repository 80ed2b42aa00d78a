"""The policy that scales ingest and scorers together on consumer lag. It runs in Serve's controller: no I/O here.

An application-level policy, because the scorers' need follows from ingest's lag: with a bounded number of calls in
flight, what a scorer sees is the bound and not the backlog behind it.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from ray.serve.config import AutoscalingContext

INGEST = "Ingest"
SCORER = "Scorer"


class ScaleOnLag:
    """Wants a replica per so many records of lag; scorers also by the calls that they have, for requests over REST.

    Lag alone would let members go as soon as they keep up, and call them back. So none leaves while the others would be
    at work for more than `busy_share` of their time.
    Serve's own `min_replicas`, `max_replicas`, `upscale_delay_s` and `downscale_delay_s` bound the wish, and decide how
    long it must last.
    """

    def __init__(
        self,
        records_per_ingest: Annotated[int, "Lag in records that one ingest member may have before another is wanted."],
        records_per_scorer: Annotated[int, "Lag in records that one scorer may have before another is wanted."],
        partitions: Annotated[int, "As `kafka.partitions`: more members would stand idle."],
        busy_share: Annotated[
            float, "No ingest member leaves while the others would be at work for more than this share of their time."
        ] = 0.7,
    ) -> None:
        if min(records_per_ingest, records_per_scorer, partitions) < 1 or not 0 < busy_share <= 1:
            raise ValueError(
                "autoscaling_policy: records_per_ingest, records_per_scorer and partitions must be at least 1, "
                "and busy_share above 0 and at most 1."
            )
        self._records_per_ingest, self._records_per_scorer = records_per_ingest, records_per_scorer
        self._partitions, self._busy_share = partitions, busy_share

    def __call__(self, contexts: Mapping[Any, AutoscalingContext]) -> tuple[dict[Any, int], dict[Any, Any]]:
        """Return the number of replicas wanted by deployment, and no state."""
        deployment_of = {ctx.deployment_name: key for key, ctx in contexts.items()}
        ingest = contexts[deployment_of[INGEST]] if INGEST in deployment_of else None
        lag = _reported(ingest, "lag_records") if ingest else None
        wanted = {}
        if ingest and lag is not None:
            members = max(replicas_for(lag, self._records_per_ingest), self._kept(ingest))
            wanted[deployment_of[INGEST]] = min(members, self._partitions)  # more would stand idle
        if SCORER in deployment_of:
            key = deployment_of[SCORER]
            wanted[key] = max(replicas_for(lag or 0.0, self._records_per_scorer), _for_calls(contexts[key]))
        return wanted, {}

    def _kept(self, ingest: AutoscalingContext) -> int:
        """Return how many of the members there are have enough to do."""
        busy = _reported(ingest, "busy_share") or 0.0
        there: int = ingest.current_num_replicas
        return min(math.ceil(busy / self._busy_share), there)


def replicas_for(lag_records: float, records_per_replica: int) -> int:
    """Return how many replicas a lag asks for, at least one."""
    return max(1, math.ceil(lag_records / records_per_replica))


def _reported(ctx: AutoscalingContext, metric: str) -> float | None:
    """Add up what the members say; None while none has said anything."""
    values = (ctx.aggregated_metrics or {}).get(metric, {})
    return sum(values.values()) if values else None


def _for_calls(ctx: AutoscalingContext) -> int:
    target = ctx.config.target_ongoing_requests if ctx.config else 1.0
    replicas: int = math.ceil(ctx.total_num_requests / target)
    return replicas
