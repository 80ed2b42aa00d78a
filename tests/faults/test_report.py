"""The table of the fault suite: nothing that went wrong may be missing from it."""

from dataclasses import replace

import msgspec
import pytest

from faults.report import as_json, table
from faults.trial import Result

MET = Result(
    number=8,
    name="kill -9 Kafka",
    seed=7,
    events_per_second=2_000.4,
    accepted=40_000,
    lost=0,
    doubled=0,
    reordered=0,
    normal_after_s=4.2,
    normal_within_s=10.0,
    peak_mib={"Ingest": 410.0, "Scorer": 620.0, "Gateway": 300.0},
    failures=[],
    notes=["Kafka was away"],
)


def test_a_case_in_time_without_failures_met_its_targets() -> None:
    assert MET.met_targets
    assert not MET.is_late


@pytest.mark.parametrize(("after_s", "is_late"), [(0.0, False), (10.0, False), (10.1, True), (None, True)])
def test_a_case_is_late_beyond_its_seconds_and_when_it_never_recovered(after_s: float | None, is_late: bool) -> None:
    result = replace(MET, normal_after_s=after_s)
    assert result.is_late is is_late
    assert result.met_targets is not is_late
    assert any("LATE: wanted within 10 s" in line for line in table([result])) is is_late


def test_a_case_with_a_failure_did_not_meet_its_targets_and_the_table_says_why() -> None:
    result = replace(MET, failures=["1 events without a result", "the page was gone"])
    assert not result.met_targets
    lines = table([result])
    assert [line.strip() for line in lines if "FAILED" in line] == [
        "FAILED: 1 events without a result",
        "FAILED: the page was gone",
    ]
    assert lines[-1] == "0 of 1 cases met every target"


def test_the_table_has_all_counts_and_the_memory_of_each_role() -> None:
    row = table([replace(MET, lost=1, doubled=2_000, reordered=3)])[2]
    assert row.split()[-8:] == ["2,000", "1", "2,000", "3", "4.2", "s", "410/620/300", "MiB"]


def test_what_could_not_be_read_and_what_never_came_are_not_taken_for_zero() -> None:
    row = table([replace(MET, lost=None, doubled=None, reordered=None, normal_after_s=None, peak_mib={})])[2]
    assert row.split()[-6:] == ["?", "?", "?", "never", "0/0/0", "MiB"]


def test_the_last_line_counts_the_cases_that_met_every_target() -> None:
    late, failed = replace(MET, normal_after_s=None), replace(MET, failures=["wrong"])
    assert table([MET, late, MET, failed])[-1] == "2 of 4 cases met every target"


def test_notes_stand_below_their_case() -> None:
    assert table([MET])[3].strip() == "Kafka was away"


def test_json_holds_every_field_of_every_result() -> None:
    results = [MET, replace(MET, number=9, lost=None, failures=["wrong"])]
    assert msgspec.json.decode(as_json(results), type=list[Result]) == results
