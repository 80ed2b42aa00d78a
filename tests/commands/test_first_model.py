import sys
from pathlib import Path

import pytest

from commands.first_model import ensure_model
from fleet.detection.model.bundle import read_bundle
from fleet.errors import ModelBundleError, UnknownModelVersionError


@pytest.fixture(autouse=True)
def _training_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")


def test_a_model_that_is_there_is_taken_without_training(models_folder: Path) -> None:
    assert ensure_model(models_folder).version == read_bundle(models_folder).version


def test_a_named_model_that_is_missing_is_not_trained(models_folder: Path) -> None:
    with pytest.raises(UnknownModelVersionError):
        ensure_model(models_folder, "2020-01-01T00-00-00Z-00000000")


def test_training_that_fails_is_said_to_have_failed(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(ModelBundleError, match="did not succeed"):
        ensure_model(tmp_path, say=said.append)
    assert said == ["No model yet: training one (one to two minutes)"]
