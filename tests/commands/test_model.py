from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands.main import commands
from fleet.detection.model.bundle import current_version
from fleet.errors import ModelBundleError, UnknownModelVersionError
from tests.fleet.detection.model.test_current import write


def run(folder: Path, *arguments: str) -> str:
    result = CliRunner().invoke(commands, ["model", *arguments, "--models", str(folder)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_bundles_are_listed_used_and_rolled_back(tmp_path: Path) -> None:
    bundles = sorted([write(tmp_path, threshold) for threshold in (2.0, 3.0, 4.0)], key=lambda b: b.version)
    run(tmp_path, "use", bundles[2].version)
    listed = run(tmp_path, "list").splitlines()
    assert [line.split()[-len(line.split())] for line in listed] == ["*", bundles[1].version, bundles[0].version]
    assert "threshold" in listed[0]
    assert bundles[1].version in run(tmp_path, "rollback")
    assert current_version(tmp_path) == bundles[1].version
    run(tmp_path, "rollback")
    with pytest.raises(UnknownModelVersionError, match="older than"):
        run(tmp_path, "rollback")
    assert current_version(tmp_path) == bundles[0].version


def test_rollback_passes_over_a_damaged_bundle(tmp_path: Path) -> None:
    bundles = sorted([write(tmp_path, threshold) for threshold in (2.0, 3.0, 4.0)], key=lambda b: b.version)
    run(tmp_path, "use", bundles[2].version)
    bundles[1].network_path.write_bytes(b"other")
    assert f"{bundles[1].version} is passed over" in run(tmp_path, "rollback")
    assert current_version(tmp_path) == bundles[0].version


def test_a_damaged_bundle_is_neither_used_nor_hidden(tmp_path: Path) -> None:
    good, damaged = write(tmp_path, 2.0), write(tmp_path, 3.0)
    run(tmp_path, "use", good.version)
    damaged.network_path.write_bytes(b"other")
    with pytest.raises(ModelBundleError, match="damaged"):
        run(tmp_path, "use", damaged.version)
    assert current_version(tmp_path) == good.version
    assert "cannot serve" in run(tmp_path, "list")
