"""Stretches of time: how long, how often, and that none goes by unseen."""

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simulator.randomness import VehicleRandomness
from simulator.senders.spells import Spells

ALL = np.arange(200)


def struck(step_s: float, steps: int, lasts_s: tuple[float, float]) -> np.ndarray:
    spells = Spells(VehicleRandomness(3, 0, len(ALL)), b"test", 600.0, lasts_s)
    return np.stack([spells.strike(ALL, np.full(len(ALL), k * step_s)) for k in range(steps)])


def test_spells_last_and_pause_as_they_should():
    flags = struck(1.0, 7200, (30.0, 300.0))
    starts = (flags[1:] & ~flags[:-1]).sum()
    mean_s = flags.sum() / starts
    assert 90 < mean_s < 140  # geometric between 30 and 300: 117
    assert 500 < 7200 * len(ALL) / starts - mean_s < 800
    assert not flags[:60].any()


@hypothesis_settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 900), st.sampled_from([(0.0, 0.0), (30.0, 60.0)]))
def test_every_spell_strikes_however_rare_the_events(step_s, lasts_s):
    flags = struck(step_s, 60, lasts_s)
    if step_s > 60 and lasts_s[1] < step_s:
        assert not (flags[1:] & flags[:-1]).any() or lasts_s[1] > 0
        assert flags.any()
