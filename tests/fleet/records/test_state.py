from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.episodes import EpisodeTracker
from fleet.detection.features import FeaturePlan
from fleet.detection.windows import VehicleWindows
from fleet.events.channels import VEHICLE_DATA, read_spec
from fleet.records.state import PartitionState, StateError, decode_state, encode_state

PLAN = FeaturePlan.of(VEHICLE_DATA)
STATES = Path(__file__).parent / "states"


def lived(vehicles: int, seconds: int, seed: int) -> VehicleWindows:
    """Windows of vehicles that have driven a while."""
    rng = np.random.default_rng(seed)
    windows = VehicleWindows(PLAN)
    for second in range(seconds):
        signals = rng.normal(50, 5, (vehicles, len(PLAN.spec.fields)))
        signals[rng.random(signals.shape) < 0.1] = np.nan
        windows.push([f"v{v}" for v in range(vehicles)], np.full(vehicles, 1e9 + second), signals)
    return windows


@given(st.integers(0, 30), st.integers(1, 8), st.integers(0, 100), st.integers(1, 3_000))
def test_a_state_comes_back_bit_for_bit_however_it_is_cut(vehicles, seconds, seed, chunk_bytes):
    windows = lived(vehicles, seconds, seed)
    state = PartitionState(1234, windows.snapshot(), EpisodeTracker().snapshot(), scored_from=77)
    chunks = encode_state(state, PLAN.name, chunk_bytes)
    assert all(0 < len(chunk) <= chunk_bytes for chunk in chunks)
    back = decode_state(chunks, PLAN.name, 1_000)
    assert (back.next_offset, back.scored_from, back.episodes) == (1234, 77, state.episodes)
    assert back.windows["vehicle_ids"] == state.windows["vehicle_ids"]
    for name, column in state.windows.items():
        np.testing.assert_array_equal(back.windows[name], column)
    VehicleWindows(PLAN).restore(back.windows)


def test_of_a_state_of_other_channels_the_episodes_are_left():
    state = PartitionState(7, lived(2, 3, 0).snapshot(), b"episodes", 5)
    chunks = encode_state(state, PLAN.name, 900_000)
    other = FeaturePlan.of(read_spec("kit_obd")).name
    assert decode_state(chunks, other, 10) == PartitionState(7, None, b"episodes", 5)


def test_a_state_of_more_vehicles_than_are_kept_says_which_setting_to_raise():
    chunks = encode_state(PartitionState(1, lived(5, 2, 0).snapshot(), b""), PLAN.name, 900_000)
    with pytest.raises(StateError, match=r"5 vehicles, but ingest.max_vehicles is 4"):
        decode_state(chunks, PLAN.name, 4)


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: [c[0][:-3], *c[1:]], lambda c: [b"\0" * 9], lambda _: []]
)
def test_a_damaged_state_is_refused_with_a_sentence(damage):
    chunks = encode_state(PartitionState(1, lived(20, 3, 0).snapshot(), b""), PLAN.name, 500)
    with pytest.raises(StateError, match="cannot be read"):
        decode_state(damage(chunks), PLAN.name, 100)


def test_a_state_takes_less_than_the_windows_do_in_memory():
    windows = lived(2_000, 40, 1)
    state = PartitionState(1, windows.snapshot(), EpisodeTracker().snapshot())
    written = sum(map(len, encode_state(state, PLAN.name, 900_000)))
    assert written < 2_000 * windows.bytes_per_vehicle


def test_of_a_state_that_earlier_code_has_written_the_episodes_are_left():
    """`format_1.bin` was written before columns kept their type."""
    state = decode_state([(STATES / "format_1.bin").read_bytes()], PLAN.name, 100)
    assert state.windows is None
    assert state.next_offset > 0
    EpisodeTracker.restore(state.episodes)


def test_columns_keep_their_type():
    windows = lived(2, 3, 0)
    back = decode_state(encode_state(PartitionState(1, windows.snapshot(), b""), PLAN.name, 900_000), PLAN.name, 10)
    types = {name: column.dtype for name, column in windows.snapshot().items() if isinstance(column, np.ndarray)}
    assert {name: back.windows[name].dtype for name in types} == types
    assert {np.dtype(kind) for kind in ("f4", "f8", "u1")} <= set(types.values())


def test_a_snapshot_with_other_columns_is_refused():
    snapshot = lived(1, 2, 0).snapshot()
    with pytest.raises(ValueError, match="does not fit these windows"):
        VehicleWindows(PLAN).restore({**snapshot, "memories": snapshot["memories"][..., :-1]})
