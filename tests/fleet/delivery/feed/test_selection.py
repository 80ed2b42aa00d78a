"""Rows of a block against the same conditions, asked of one event after the other."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.feed.messages import Filter
from fleet.delivery.feed.selection import DEFAULT_TENANT, Selection
from tests.fleet.delivery.feed.feed_harness import block_of, scored

VEHICLES, CAUSES, TENANTS = ["A", "B", "C"], ["overspeed", "overheating"], [None, "north", "south"]
degrees = st.one_of(st.none(), st.integers(-90, 90), st.sampled_from(["12.5", "unavailable"]))
events = st.fixed_dictionaries(
    {
        "vehicle": st.sampled_from(VEHICLES),
        "alarm": st.booleans(),
        "severity": st.sampled_from([0.0, 0.5, 0.9]),
        "anomalyType": st.sampled_from([None, *CAUSES]),
        "tenantId": st.sampled_from(TENANTS),
        "latitude": degrees,
        "longitude": degrees,
    }
)
some = st.none() | st.lists(st.sampled_from([*VEHICLES, *CAUSES, "unheard of"]), max_size=3).map(tuple)
filters = st.builds(
    Filter,
    vehicles=some,
    anomalies=st.booleans(),
    min_severity=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
    causes=some,
)
degree = st.integers(-90, 90).map(float)
selections = st.builds(
    Selection,
    st.sampled_from([None, DEFAULT_TENANT, "north"]),
    filters,
    st.none() | st.tuples(degree, degree, degree, degree),
    st.none(),
)


def is_wanted(event: dict[str, Any], wanted: Selection) -> bool:
    asked = wanted.filter
    return (
        wanted.tenant in (None, event["tenantId"] or DEFAULT_TENANT)
        and (asked.vehicles is None or event["vehicleId"] in asked.vehicles)
        and (asked.causes is None or event["anomalyType"] in asked.causes)
        and (not asked.anomalies or event["is_anomaly"])
        and (asked.min_severity is None or event["severity"] >= asked.min_severity)
        and (wanted.viewport is None or is_inside(event, wanted.viewport))
    )


def is_inside(event: dict[str, Any], viewport: tuple[float, float, float, float]) -> bool:
    if None in (event["latitude"], event["longitude"]) or "unavailable" in (event["latitude"], event["longitude"]):
        return False
    west, south, east, north = viewport
    longitude = float(event["longitude"])
    between = west <= longitude <= east if west <= east else longitude >= west or longitude <= east
    return between and south <= float(event["latitude"]) <= north


@given(st.lists(events, max_size=12), selections)
def test_selection_lets_through_what_fits(rows: list[dict[str, Any]], wanted: Selection) -> None:
    block = block_of(scored(0, n, **row) for n, row in enumerate(rows))
    sent = [json.loads(body) for body in block.select(wanted).bodies]
    fitting = [event for row in block.rows if is_wanted(event := json.loads(row.body), wanted)]
    assert sent == fitting
    assert block.select(wanted) is block.select(wanted)


def test_events_of_no_tenant_are_the_default_tenants() -> None:
    block = block_of([scored(0, 0, "A"), scored(0, 1, "B", tenantId="north"), scored(0, 2, "C", tenantId="default")])
    assert block.select(Selection(DEFAULT_TENANT)).vehicle_ids == ["A", "C"]
    assert block.select(Selection("north")).vehicle_ids == ["B"]
    assert block.select(Selection("south")).vehicle_ids == []


@pytest.mark.parametrize("fields", [("speed",), ("speed", "unheard of"), ()])
def test_fields_are_sent_as_they_came_with_what_tells_events_apart(fields: tuple[str, ...]) -> None:
    place, body = scored(0, 7, "A", speed=...)
    block = block_of([(place, body[:-1] + b', "speed": 50.50}')])
    [sent] = block.select(Selection(fields=fields)).bodies
    assert sent == b'{"vehicleId":"A","source":"0:7"' + (b',"speed":50.50}' if fields else b"}")


def test_what_is_no_scored_record_is_passed_over() -> None:
    block = block_of(
        [scored(0, 0, "A"), (scored(0, 1, "B")[0], b"{}"), (scored(0, 2, "B")[0], b"\xff"), scored(0, 3, "C")]
    )
    assert block.vehicle_ids == ["A", "C"]
    assert block.end == {0: 4}
