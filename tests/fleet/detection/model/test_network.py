"""What a bundle's network answers, beside the one that it was frozen from; and what is refused."""

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import ModelBundle, write_bundle
from fleet.detection.model.frozen_graph import FrozenGraph, FrozenGraphError, _varint
from fleet.detection.model.network import Network
from fleet.errors import ModelBundleError
from fleet.events.channels import Channel, ChannelSpec
from tests.small_detector import table
from tests.training.test_autoencoder import PLAN, J, K, fresh_model, ordinary
from training.autoencoder import Autoencoder

OTHER_PLAN = FeaturePlan.of(ChannelSpec("two", (Channel("a"), Channel("b")), timing=False))


def bundle_of(save_network, folder: Path, plan: FeaturePlan = PLAN) -> ModelBundle:
    return write_bundle(
        folder, save_network=save_network, plan=plan, threshold=1.0, calibration=table(plan), metrics={}
    )


@pytest.fixture(scope="module")
def trained() -> Autoencoder:
    """A network whose parts all do something: trained a little, and with whitening that mixes."""
    model = fresh_model()
    model.train_epoch(ordinary(400), 32, 1e-2, hidden_share=0.3)
    by_aspect = np.where(PLAN.aspect_of[:, None] == PLAN.aspect_of, 0.2, 0.0)  # as training makes them
    model.set_whitening(np.eye(J) + by_aspect, np.eye(J) - 0.1)
    return model


@pytest.fixture(scope="module")
def network(trained, tmp_path_factory) -> Network:
    return Network.load(bundle_of(trained.freeze, tmp_path_factory.mktemp("models")))


def with_unknown(rows: int) -> np.ndarray:
    features = ordinary(rows)
    features[::3, 3] = np.nan
    features[1::5] = np.nan
    features[2::7, 0] = 1e9
    return features


@pytest.mark.parametrize("rows", [0, 1, 2, 300, 5000])
def test_network_answers_as_the_one_it_was_frozen_from(trained, network, rows):
    features = with_unknown(rows)
    np.testing.assert_allclose(network.errors(features), trained.errors(features), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(network.imputed_errors(features), trained.imputed_errors(features), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(network.expectations(features), trained.expectations(features), rtol=1e-4, atol=1e-4)
    assert network.errors(features).shape == (rows, 2 * J + 1)
    assert network.expectations(features).shape == (rows, 3, J)
    assert network.imputed_errors(features).shape == (rows, len(PLAN.groups), 2 * J + 1)


def test_an_answer_is_the_callers_own(network):
    first = network.errors(ordinary(3))
    kept = first.copy()
    network.errors(ordinary(3) + 5)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0  # may be written to


def test_rows_may_come_in_any_layout(network):
    features = with_unknown(40)
    expected = network.errors(features)
    np.testing.assert_array_equal(network.errors(np.asfortranarray(features)), expected)
    np.testing.assert_array_equal(network.errors(np.repeat(features, 2, axis=0)[::2]), expected)
    np.testing.assert_array_equal(network.errors(features.astype(np.float64)), expected)


def test_threads_may_share_a_network(network):
    blocks = [with_unknown(1 + 37 * n) for n in range(24)]
    alone = [network.errors(block) for block in blocks]
    with ThreadPoolExecutor(4) as pool:
        for expected, found in zip(alone, pool.map(network.errors, blocks), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_rows_of_another_width_are_refused_and_the_next_are_scored(network):
    with pytest.raises(FrozenGraphError):
        network.errors(np.zeros((3, K + 1), np.float32))
    assert network.errors(ordinary(2)).shape == (2, 2 * J + 1)


def test_a_network_that_nobody_holds_any_more_frees_its_memory(trained, tmp_path):
    trained.freeze(tmp_path / "network.pb")
    content, features = (tmp_path / "network.pb").read_bytes(), ordinary(50)
    held_kib = []
    for _ in range(24):
        FrozenGraph(content, ["errors"], 1).run("errors", features)
        gc.collect()
        held_kib.append(_anonymous_memory_kib())
    # Each takes 1,900. An allocator that grows once is no leak: hence so many.
    assert held_kib[-1] - held_kib[7] < 16 * 600


def _anonymous_memory_kib() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1])


def test_what_is_no_network_is_refused(trained, tmp_path):
    trained.freeze(tmp_path / "whole.pb")
    content = (tmp_path / "whole.pb").read_bytes()
    for wrong in (b"no network", content[: len(content) // 2], b""):
        bundle = bundle_of(lambda path, wrong=wrong: path.write_bytes(wrong), tmp_path)
        with pytest.raises(ModelBundleError, match="does not hold the network that its manifest describes"):
            Network.load(bundle)


def test_the_network_of_other_features_is_refused(trained, tmp_path):
    with pytest.raises(ModelBundleError, match=r"does not hold .* describes \(.*train a new bundle"):
        Network.load(bundle_of(trained.freeze, tmp_path, OTHER_PLAN))


def test_a_graph_without_the_operation_is_refused(trained, tmp_path):
    trained.freeze(tmp_path / "network.pb")
    with pytest.raises(FrozenGraphError, match="no operation verdicts"):
        FrozenGraph((tmp_path / "network.pb").read_bytes(), ["verdicts"], 1)


@pytest.mark.parametrize(
    ("value", "written"), [(1, b"\x01"), (127, b"\x7f"), (256, b"\x80\x02"), (-1, b"\xff" * 9 + b"\x01")]
)
def test_settings_are_written_as_protocol_buffers_write_them(value, written):
    assert _varint(value) == written


def test_what_serves_needs_no_python_of_tensorflow(trained, tmp_path):
    bundle_of(trained.freeze, tmp_path)
    program = f"""
import sys, numpy, deployments.scorer
from pathlib import Path
from fleet.detection.model.bundle import read_bundle
from fleet.detection.model.network import Network
bundle = read_bundle(Path({str(tmp_path)!r}))
Network.load(bundle).errors(numpy.zeros((2, {K}), numpy.float32))
sys.exit("tensorflow" in sys.modules or "keras" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0
