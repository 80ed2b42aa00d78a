"""The audit log is bounded, and says what it left out."""

import logging

import pytest

from deployments.web.access.audit import MOST_LINES_PER_S, AuditLog


def test_a_flood_of_refusals_is_counted_not_written(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 100.0
    audit = AuditLog(lambda: now_s)
    with caplog.at_level(logging.INFO, "fleet.audit"):
        for _ in range(1_000):
            audit.refuse("no token", "", "/v1/vehicles", "10.0.0.1")
        assert len(caplog.records) == MOST_LINES_PER_S
        now_s += 1
        audit.signed_in("id", "wall", "10.0.0.1")
    assert audit.refused == 1_000
    assert caplog.records[-1].message == "signed_in"
    assert caplog.records[-1].left_out == str(1_000 - MOST_LINES_PER_S)
