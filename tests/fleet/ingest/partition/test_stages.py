import pytest

from fleet.ingest.partition.stages import FinishedRun, RunOffsets


@pytest.mark.parametrize(("scored", "dead_lettered"), [(2, 0), (3, 1), (0, 0)])
def test_a_finished_run_refuses_a_count_that_does_not_add_up(scored: int, dead_lettered: int) -> None:
    with pytest.raises(ValueError, match="3 records were read"):
        FinishedRun(RunOffsets(0, 3, 3), [1, 2], scored=scored, dead_lettered=dead_lettered, finished_at_s=0.0)


def test_a_finished_run_counts_records_and_not_offsets_which_may_have_holes() -> None:
    run = FinishedRun(RunOffsets(0, 9, 3), ["result", "result", "letter"], 2, 1, 0.0)
    assert run.scored + run.dead_lettered == run.offsets.records
