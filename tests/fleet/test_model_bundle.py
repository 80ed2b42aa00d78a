import json
from pathlib import Path

import numpy as np
import pytest

from fleet.errors import ModelBundleError, UnknownModelVersionError
from fleet.features import FEATURES
from fleet.model_bundle import (
    Calibration,
    LayerSizes,
    ModelBundle,
    current_version,
    read_bundle,
    set_current_version,
    write_bundle,
)

K = len(FEATURES)


def write(folder: Path, **changed: object) -> ModelBundle:
    content = {
        "save_weights": lambda path: path.write_bytes(b"weights"),
        "mean": np.linspace(0.1, 9, K),
        "scale": np.stack([np.full(K, 0.7), np.full(K, 1.3)]),
        "threshold": 2.5,
        "calibration": Calibration(np.array([0.5, 1.0, 3.0]), np.array([0.2, 1.0, 2.5])),
        "layers": LayerSizes(),
        "metrics": {"seed": 7},
    }
    return write_bundle(folder, **{**content, **changed})


def test_bundle_comes_back_as_it_was_written(tmp_path):
    written = write(tmp_path)
    read = read_bundle(tmp_path)
    assert read.version == written.version == current_version(tmp_path)
    assert read.features == FEATURES
    np.testing.assert_array_equal(read.mean, np.linspace(0.1, 9, K).astype(np.float32))
    np.testing.assert_array_equal(read.scale[:, 0], np.array([0.7, 1.3], np.float32))
    np.testing.assert_array_equal(read.calibration.error, [0.2, 1.0, 2.5])
    assert (read.threshold, read.metrics) == (2.5, {"seed": 7.0})
    assert read.weights_path.read_bytes() == b"weights"


def test_bundle_folder_holds_its_two_files_and_nothing_is_left_over(tmp_path):
    bundle = write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([bundle.version, "current"])
    assert sorted(path.name for path in bundle.folder.iterdir()) == ["manifest.json", "model.weights.h5"]


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
        write(tmp_path, save_weights=fail)
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


def test_bundle_with_other_weights_is_refused(tmp_path):
    bundle = write(tmp_path)
    bundle.weights_path.write_bytes(b"Weights")
    with pytest.raises(ModelBundleError, match=r"model\.weights\.h5 is damaged: its SHA-256 differs"):
        read_bundle(tmp_path)


def test_bundle_without_weights_is_refused(tmp_path):
    write(tmp_path).weights_path.unlink()
    with pytest.raises(ModelBundleError, match="cannot be read"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("threshold", 9.0), ("mean", [0.0] * K), ("metrics", {}), ("version", "2026-01-01T00-00-00Z-00000000")],
)
def test_bundle_with_an_edited_manifest_is_refused(tmp_path, field, value):
    path = write(tmp_path).folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ModelBundleError, match="was changed after training"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff", b'{"threshold": "high"}'])
def test_bundle_with_an_unreadable_manifest_is_refused(tmp_path, content):
    (write(tmp_path).folder / "manifest.json").write_bytes(content)
    with pytest.raises(ModelBundleError, match="is no manifest of a model bundle"):
        read_bundle(tmp_path)


def test_bundle_for_other_features_is_refused(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("fleet.model_bundle.FEATURES", FEATURES[::-1])
    with pytest.raises(ModelBundleError, match="this code computes weather_adverse"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"mean": np.zeros(K - 1)}, "mean has not one value per feature"),
        ({"scale": np.zeros((2, K))}, "not finite and positive"),
        ({"mean": np.full(K, np.nan)}, "not finite and positive"),
        ({"calibration": Calibration(np.array([1.0, 2.0]), np.array([2.0, 1.0]))}, "not a pair of increasing"),
        ({"calibration": Calibration(np.array([1.0]), np.array([1.0]))}, "not a pair of increasing"),
    ],
)
def test_bundle_of_wrong_numbers_is_not_written(tmp_path, changed, sentence):
    with pytest.raises(ModelBundleError, match=sentence):
        write(tmp_path, **changed)
    assert list(tmp_path.iterdir()) == []
