from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.autoscaling import ScaleOnLag, replicas_for

POLICY = ScaleOnLag(records_per_ingest=100, records_per_scorer=200, partitions=6)


def contexts(
    lag_by_replica: dict[str, float], calls: float = 0.0, busy_by_replica: dict[str, float] | None = None
) -> dict[str, Any]:
    metrics = {"lag_records": lag_by_replica, "busy_share": busy_by_replica or {}} if lag_by_replica else {}
    config = SimpleNamespace(target_ongoing_requests=3)
    return {
        "ingest-id": SimpleNamespace(
            deployment_name="Ingest", aggregated_metrics=metrics, current_num_replicas=len(lag_by_replica)
        ),
        "scorer-id": SimpleNamespace(deployment_name="Scorer", total_num_requests=calls, config=config),
    }


@pytest.mark.parametrize(("lag", "wanted"), [(0, 1), (1, 1), (50_000, 1), (50_001, 2), (120_000, 3)])
def test_replicas_follow_the_lag(lag: float, wanted: int) -> None:
    assert replicas_for(lag, records_per_replica=50_000) == wanted


def test_policy_scales_both_on_the_lag_of_all_members() -> None:
    assert POLICY(contexts({"a": 150.0, "b": 380.0})) == ({"ingest-id": 6, "scorer-id": 3}, {})


@given(st.floats(0, 1e15), st.floats(0, 1e6))
def test_policy_wants_at_least_one_replica_and_no_member_without_a_partition(lag: float, calls: float) -> None:
    wanted, _ = POLICY(contexts({"a": lag}, calls))
    assert 1 <= wanted["ingest-id"] <= 6
    assert wanted["scorer-id"] >= 1


def test_policy_wants_scorers_for_calls_that_no_lag_explains() -> None:
    assert POLICY(contexts({"a": 0.0}, calls=10))[0] == {"ingest-id": 1, "scorer-id": 4}


@pytest.mark.parametrize(
    ("busy", "wanted"),
    [
        ({"a": 0.9, "b": 0.9, "c": 0.9}, 3),
        ({"a": 0.5, "b": 0.5, "c": 0.5}, 3),  # two would be at work for 75 % of their time
        ({"a": 0.4, "b": 0.4, "c": 0.4}, 2),
        ({"a": 0.1, "b": 0.1, "c": 0.1}, 1),
        ({"a": 1.0, "b": 1.0}, 2),  # being busy keeps members, a backlog calls for more
    ],
)
def test_policy_lets_no_member_go_whose_work_would_be_too_much_for_the_others(busy, wanted) -> None:
    assert POLICY(contexts(dict.fromkeys(busy, 0.0), busy_by_replica=busy))[0]["ingest-id"] == wanted


@given(st.floats(0.0, 1.0), st.integers(1, 6))
def test_members_that_keep_up_never_call_for_more(busy: float, members: int) -> None:
    replicas = [f"r{number}" for number in range(members)]
    context = contexts(dict.fromkeys(replicas, 0.0), busy_by_replica=dict.fromkeys(replicas, busy))
    assert POLICY(context)[0]["ingest-id"] <= members


@pytest.mark.parametrize("wrong", [{"records_per_ingest": 0}, {"busy_share": 0.0}, {"partitions": 0}])
def test_policy_refuses_numbers_that_make_no_sense(wrong) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        ScaleOnLag(**{"records_per_ingest": 100, "records_per_scorer": 200, "partitions": 6, **wrong})


def test_policy_leaves_the_members_alone_while_nothing_is_reported() -> None:
    assert POLICY(contexts({}, calls=1))[0] == {"scorer-id": 1}
