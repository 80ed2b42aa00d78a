from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.autoscaling import ScaleOnLag, wanted_replicas


@pytest.mark.parametrize(("lag", "wanted"), [(0, 1), (1, 1), (50_000, 1), (50_001, 2), (120_000, 3), (10_000_000, 6)])
def test_wanted_replicas_follows_the_lag(lag: float, wanted: int) -> None:
    assert wanted_replicas(lag, records_per_replica=50_000, partitions=6) == wanted


@given(st.floats(0, 1e15), st.integers(1, 10**9), st.integers(1, 1000))
def test_wanted_replicas_stays_between_one_and_the_partitions(lag: float, per_replica: int, partitions: int) -> None:
    assert 1 <= wanted_replicas(lag, per_replica, partitions) <= partitions


def test_policy_adds_the_lag_of_all_replicas() -> None:
    policy = ScaleOnLag(records_per_replica=100, partitions=6)
    context = SimpleNamespace(aggregated_metrics={"lag_records": {"a": 150.0, "b": 120.0}}, target_num_replicas=1)
    assert policy(context) == (3, {})


def test_policy_changes_nothing_while_nothing_is_reported() -> None:
    policy = ScaleOnLag(records_per_replica=100, partitions=6)
    assert policy(SimpleNamespace(aggregated_metrics={}, target_num_replicas=4)) == (4, {})
