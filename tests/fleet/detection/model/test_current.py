import asyncio
from pathlib import Path

import pytest

from fleet.detection.model.bundle import ModelBundle, set_current_version, write_bundle
from fleet.detection.model.current import CurrentModel
from fleet.errors import FleetError, ScorerUnavailableError, ScoringFailedError, UnknownModelVersionError
from tests.small_detector import PLAN, table


def write(folder: Path, threshold: float) -> ModelBundle:
    return write_bundle(
        folder,
        save_network=lambda path: path.write_bytes(b"network"),
        plan=PLAN,
        threshold=threshold,
        calibration=table(),
        metrics={},
    )


def version_of(bundle: ModelBundle | None) -> str | None:
    return bundle and bundle.version


def test_a_newer_bundle_is_offered_once_it_is_current(tmp_path: Path) -> None:
    first = write(tmp_path, 2.0)
    model = CurrentModel(tmp_path, "current", first.version)
    assert model.bundle.version == first.version
    assert model.newer() is None
    second = write(tmp_path, 3.0)
    assert version_of(model.newer()) == second.version
    set_current_version(tmp_path, first.version)
    assert model.newer() is None


def test_a_damaged_bundle_is_refused_once_and_the_old_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = write(tmp_path, 2.0)
    model = CurrentModel(tmp_path, "current", first.version)
    damaged = write(tmp_path, 3.0)
    damaged.network_path.write_bytes(b"other network")
    assert model.newer() is None
    assert model.newer() is None
    assert sum("damaged" in record.message for record in caplog.records) == 1
    assert model.bundle.version == first.version
    third = write(tmp_path, 4.0)
    assert version_of(model.newer()) == third.version


def test_a_process_that_starts_beside_a_damaged_bundle_serves_the_settled_one(tmp_path: Path) -> None:
    first = write(tmp_path, 2.0)
    write(tmp_path, 3.0).network_path.write_bytes(b"other network")
    assert CurrentModel(tmp_path, "current", first.version).bundle.version == first.version


async def test_a_pinned_version_stays(tmp_path: Path) -> None:
    first = write(tmp_path, 2.0)
    model = CurrentModel(tmp_path, first.version, first.version)
    second = write(tmp_path, 3.0)

    async def attempt(_: ModelBundle) -> None:
        pytest.fail(f"{second.version} was tried")

    await model.follow(attempt)  # has nothing to wait for
    assert model.bundle.version == first.version


def test_without_any_bundle_the_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelVersionError, match="fleet train"):
        CurrentModel(tmp_path, "current", "v1")


@pytest.mark.parametrize(
    ("failures", "used"),
    [([], True), ([ScorerUnavailableError("busy")], True), ([ScoringFailedError("no such layer")], False)],
    ids=["at once", "after a busy scorer", "never, for one that cannot score"],
)
async def test_a_bundle_is_adopted_when_it_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: list[FleetError], used: bool
) -> None:
    monkeypatch.setattr("fleet.detection.model.current.LOOK_INTERVAL_S", 0.01)
    first = write(tmp_path, 2.0)
    model = CurrentModel(tmp_path, "current", first.version)
    tried: list[str] = []

    async def attempt(bundle: ModelBundle) -> None:
        tried.append(bundle.version)
        if failures:
            raise failures.pop(0)

    following = asyncio.create_task(model.follow(attempt))
    second = write(tmp_path, 3.0)
    async with asyncio.timeout(20):
        while not tried or (used and model.bundle.version != second.version):
            await asyncio.sleep(0.01)
    if not used:
        third = write(tmp_path, 4.0)  # the next one is tried again, the refused one is not
        async with asyncio.timeout(20):
            while model.bundle.version != third.version:
                await asyncio.sleep(0.01)
        assert tried == [second.version, third.version]
    following.cancel()
