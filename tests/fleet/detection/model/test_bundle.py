import json
from pathlib import Path

import numpy as np
import pytest

from fleet.detection.calibration import Calibration
from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import (
    FORMAT,
    ModelBundle,
    current_version,
    read_bundle,
    set_current_version,
    write_bundle,
)
from fleet.errors import ModelBundleError, UnknownModelVersionError
from fleet.events.channels import Channel, ChannelSpec
from tests.small_detector import PLAN, table

KINDS = 4 * len(PLAN.aspects) + 1
DECADES = np.array([1.0, 2.0, 3.0, 4.0])


def write(folder: Path, **changed: object) -> ModelBundle:
    content = {
        "save_network": lambda path: path.write_bytes(b"network"),
        "plan": PLAN,
        "threshold": 2.5,
        "calibration": table(),
        "metrics": {"seed": 7},
    }
    return write_bundle(folder, **{**content, **changed})


def test_bundle_comes_back_as_it_was_written(tmp_path):
    written = write(tmp_path)
    read = read_bundle(tmp_path)
    assert read.version == written.version == current_version(tmp_path)
    assert read.plan == PLAN
    assert read.features == PLAN.names
    np.testing.assert_array_equal(read.calibration.rarity, table().rarity)
    np.testing.assert_array_equal(read.calibration.error, table().error)
    np.testing.assert_array_equal(read.calibration.steepness, table().steepness)
    assert (read.threshold, read.metrics) == (2.5, {"seed": 7.0})
    assert read.network_path.read_bytes() == b"network"


def test_bundle_carries_the_channel_specification_it_was_trained_for(tmp_path):
    spec = ChannelSpec(
        "mine",
        (Channel("a b", causes={"frozen": "stuck"}, range=(0, 1)), Channel("c", codes={"x": 1.0}, role="context")),
    )
    plan = FeaturePlan.of(spec)
    write(tmp_path, plan=plan, calibration=table(plan))
    assert read_bundle(tmp_path).plan == plan


def test_bundle_folder_holds_its_two_files_and_nothing_is_left_over(tmp_path):
    bundle = write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([bundle.version, "current"])
    assert sorted(path.name for path in bundle.folder.iterdir()) == ["manifest.json", "network.pb"]


def test_bundle_version_names_time_and_content(tmp_path):
    first, second = write(tmp_path), write(tmp_path, threshold=3.0)
    assert first.version.startswith(first.trained_at.replace(":", "-"))
    assert first.version != second.version
    assert read_bundle(tmp_path).version == second.version
    assert read_bundle(tmp_path, first.version).threshold == 2.5


def test_current_version_can_be_set_back(tmp_path):
    first, _ = write(tmp_path), write(tmp_path, threshold=3.0)
    set_current_version(tmp_path, first.version)
    assert read_bundle(tmp_path).version == first.version


def test_bundle_that_failed_to_be_written_leaves_nothing(tmp_path):
    kept = write(tmp_path)

    def fail(_path: Path) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, save_network=fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([kept.version, "current"])


def test_bundle_missing_is_said(tmp_path):
    with pytest.raises(UnknownModelVersionError, match="train one"):
        read_bundle(tmp_path)
    with pytest.raises(UnknownModelVersionError, match="no model bundle at"):
        read_bundle(tmp_path, "2026-01-01T00-00-00Z-00000000")


@pytest.mark.parametrize("version", ["../elsewhere", "a/b", "", ".hidden", "x" * 101, "a\n"])
def test_bundle_version_cannot_lead_out_of_the_folder(tmp_path, version):
    with pytest.raises(UnknownModelVersionError, match="is no model version"):
        read_bundle(tmp_path, version)


def test_bundle_with_another_network_is_refused(tmp_path):
    bundle = write(tmp_path)
    bundle.network_path.write_bytes(b"Network")
    with pytest.raises(ModelBundleError, match=r"network\.pb is damaged: its SHA-256 differs"):
        read_bundle(tmp_path)


def test_bundle_without_its_network_is_refused(tmp_path):
    write(tmp_path).network_path.unlink()
    with pytest.raises(ModelBundleError, match="cannot be read"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 9.0),
        ("trained_at", "2020-01-01T00:00:00Z"),
        ("calibration_rarity", [0.5, 2.0, 3.0, 4.0]),
        ("metrics", {}),
        ("version", "2026-01-01T00-00-00Z-00000000"),
    ],
)
def test_bundle_with_an_edited_manifest_is_refused(tmp_path, field, value):
    path = write(tmp_path).folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ModelBundleError, match="was changed after training"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": "x"}', b"\xff", b'{"threshold": "high"}'])
def test_bundle_with_an_unreadable_manifest_is_refused(tmp_path, content):
    (write(tmp_path).folder / "manifest.json").write_bytes(content)
    with pytest.raises(ModelBundleError, match="is no manifest of a model bundle"):
        read_bundle(tmp_path)


def test_bundle_for_other_features_is_refused(tmp_path, monkeypatch):
    write(tmp_path)
    other = FeaturePlan(PLAN.spec, PLAN.features[::-1])
    monkeypatch.setattr(FeaturePlan, "of", classmethod(lambda _cls, _spec: other))
    with pytest.raises(ModelBundleError, match="this code computes history, log_interval"):
        read_bundle(tmp_path)


def test_bundle_of_an_older_format_is_refused_by_its_number(tmp_path):
    (write(tmp_path).folder / "manifest.json").write_bytes(b'{"format": 1, "layers": [10, 5]}')
    with pytest.raises(ModelBundleError, match=f"has format 1, this code reads {FORMAT}"):
        read_bundle(tmp_path)


def test_bundle_of_another_format_is_refused(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("fleet.detection.model.bundle.FORMAT", 99)
    with pytest.raises(ModelBundleError, match="this code reads 99"):
        read_bundle(tmp_path)


def with_error(error: np.ndarray, rarity: np.ndarray = DECADES) -> Calibration:
    return Calibration(rarity, error, np.full(len(error), 10.0))


def falling() -> np.ndarray:
    error = table().error.copy()
    error[7, 2] = 0.5
    return error


WRONG_CALIBRATION = "its calibration is not increasing and finite"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"threshold": np.inf}, "its threshold is not finite"),
        ({"calibration": with_error(table().error[:-1])}, WRONG_CALIBRATION),
        ({"calibration": with_error(falling())}, WRONG_CALIBRATION),
        ({"calibration": with_error(np.full((KINDS, 4), np.nan))}, WRONG_CALIBRATION),
        ({"calibration": with_error(table().error - 1.0)}, WRONG_CALIBRATION),
        ({"calibration": with_error(table().error, DECADES[::-1])}, WRONG_CALIBRATION),
        ({"calibration": with_error(table().error[:, :1], DECADES[:1])}, WRONG_CALIBRATION),
        ({"calibration": Calibration(DECADES, table().error, -np.ones(KINDS))}, WRONG_CALIBRATION),
        ({"plan": FeaturePlan.of(ChannelSpec("none", ()))}, "no channel is judged"),
    ],
)
def test_bundle_of_wrong_numbers_is_not_written(tmp_path, changed, sentence):
    with pytest.raises(ModelBundleError, match=sentence):
        write(tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []


def test_aspects_weigh_by_their_error_at_the_threshold():
    from tests.small_detector import made_up_bundle

    np.testing.assert_allclose(made_up_bundle(threshold=3.0).aspect_weights, 1 / 3)
    assert len(made_up_bundle().aspect_weights) == KINDS - 1
