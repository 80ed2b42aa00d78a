import asyncio
import time

import pytest

from fleet.counters import IngestCount
from fleet.detection.detector import Detector
from fleet.detection.senders import SenderReports
from fleet.ingest.member import Member
from fleet.ingest.partition.owned_partition import OwnedPartition
from fleet.ingest.partition.pipeline import PartitionPipeline
from tests.fleet.ingest.worker_harness import make_settings, until
from tests.small_detector import PLAN


@pytest.fixture
def member() -> Member:
    return Member(make_settings(), time.time)


def opened(partition: int) -> OwnedPartition:
    detector = Detector(PLAN)
    senders = SenderReports(detector.windows, 300.0)
    return OwnedPartition(partition, PartitionPipeline(0), detector, senders, resume_at=0, read_from=0)


async def test_a_member_fails_with_what_it_began_and_wakes_its_loop(member: Member) -> None:
    async def fail() -> None:
        raise ValueError("a part is broken")

    member.check()
    member.begin(fail())
    await asyncio.wait_for(member.progress.wait(), 5)
    with pytest.raises(RuntimeError, match="ingest stopped: a part is broken"):
        member.check()


async def test_what_belongs_to_a_partition_is_kept_until_it_ends_and_may_be_cancelled(member: Member) -> None:
    owned, may_end = opened(1), asyncio.Event()

    async def wait() -> None:
        await may_end.wait()

    member.begin_for(owned, wait())
    member.begin_for(owned, wait())
    assert len(owned.tasks) == 2
    owned.tasks.copy().pop().cancel()
    await until(lambda: len(owned.tasks) == 1)
    may_end.set()
    await until(lambda: not owned.tasks)
    member.check()


def test_a_member_whose_loop_makes_no_turn_is_stuck(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.monotonic()
    stuck_after_s = member.settings.ingest.stuck_after_s
    monkeypatch.setattr("fleet.ingest.member.time.monotonic", lambda: now_s + stuck_after_s + 1)
    with pytest.raises(RuntimeError, match="made no turn for"):
        member.check()
    member.note_turn()
    member.check()


def test_a_partition_that_came_back_is_not_held_under_its_earlier_assignment(member: Member) -> None:
    before, now = opened(1), opened(1)
    member.owned[1] = before
    assert member.owned.holds(before)
    member.owned[1] = now
    assert (member.owned.holds(before), member.owned.holds(now)) == (False, True)
    assert not member.owned.holds(opened(2))


def test_a_count_is_called_what_its_metrics_tag_says(member: Member) -> None:
    member.counts[IngestCount.READ] += 3
    assert member.counts["read"] == 3
