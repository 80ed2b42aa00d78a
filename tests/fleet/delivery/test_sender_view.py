"""The gateway's latest reports on senders: by vehicle, by finding, by tenant, within their bound."""

import json

from fleet.delivery.sender_view import SenderRecord, SenderView


def record(vehicle_id: str, *kinds: str, tenant: str | None = None, **fields: object) -> SenderRecord:
    findings = [{"kind": kind, "signal": None, "detail": "…"} for kind in kinds]
    report = {"vehicleId": vehicle_id, "tenantId": tenant, "findings": findings, **fields}
    return SenderRecord(vehicle_id.encode(), json.dumps(report).encode())


def ids(bodies: list[bytes]) -> list[str]:
    return [json.loads(body)["vehicleId"] for body in bodies]


def test_the_latest_report_of_a_vehicle_counts_and_comes_first():
    view = SenderView(10)
    view.receive([record("a", "unit"), record("b"), record("a", "clock", events=2)])
    assert ids(view.senders(10)) == ["a", "b"]
    assert ids(view.senders(1)) == ["a"]
    assert json.loads(view.sender("a") or b"")["events"] == 2
    assert ids(view.senders(10, "unit")) == []
    assert ids(view.senders(10, "clock")) == ["a"]
    assert view.counts() == {"clock": 1}


def test_a_tenant_is_told_of_its_own_senders_alone():
    view = SenderView(10)
    view.receive([record("a", "unit", tenant="acme"), record("b", "unit")])
    assert view.sender("a", "other") is None
    assert view.sender("a", "acme") is not None
    assert ids(view.senders(10, tenant="default")) == ["b"]
    assert view.counts("acme") == {"unit": 1}
    assert view.counts() == {"unit": 2}


def test_a_record_without_a_value_removes_a_vehicle_and_what_is_unreadable_is_counted():
    view = SenderView(10)
    view.receive([record("a"), SenderRecord(b"a", None), SenderRecord(b"b", b"{")])
    assert view.sender("a") is None
    assert view.unreadable == 1


def test_the_vehicle_that_was_reported_longest_ago_goes_first():
    view = SenderView(2)
    view.receive([record("a"), record("b"), record("a"), record("c")])
    assert ids(view.senders(10)) == ["c", "a"]
    assert view.evicted == 1
