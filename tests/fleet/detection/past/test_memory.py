"""What one channel's past makes of a value that is far off, of a shift, of stillness and of absence."""

import math

import numpy as np
import pytest

from fleet.detection.past.memory import BACK_EVENTS, DOUBTS, FADING_PER_S
from tests.fleet.detection.windows_harness import (
    BUILT_IN,
    NAN,
    START_S,
    built_in,
    changed,
    driven,
    of_one,
    usual_drive,
)

NOISE = 0.3  # of the temperature, °C
MEANS = ("temperature_medium", "temperature_slow", "temperature_drift")
FEW = int(DOUBTS)

# Values that are far off ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", [-40.0, 0.0, 120.0, 1e9])
def test_one_reading_that_is_far_off_leaves_no_trace(reading):
    usual, odd = driven(), driven(**changed("temperature", 600, reading))
    assert built_in(odd, "temperature_level")[600] == pytest.approx(reading)
    assert built_in(odd, "temperature_stepped")[600] > 20, "it is seen"
    assert odd.is_doubtful.nonzero()[0].tolist() == [600], "and not yet believed"
    for name in MEANS:
        np.testing.assert_allclose(built_in(odd, name)[601:], built_in(usual, name)[601:], atol=NOISE / 5)
    assert (built_in(odd, "temperature_stepped")[601:] < 4 * NOISE).all()


def test_a_few_readings_that_agree_with_nothing_leave_no_trace_either():
    odd = driven(**changed("temperature", slice(600, 604), [-40.0, 150.0, 20.0, 250.0]))
    assert (np.abs(built_in(odd, "temperature_medium")[604:]) < NOISE).all()
    assert (built_in(odd, "temperature_stepped")[604:] < 4 * NOISE).all()


def test_a_shift_that_is_confirmed_shows_as_a_step_and_begins_the_means_anew():
    signals = usual_drive(900)[1]
    shifted = driven(temperature=signals["temperature"] + np.where(np.arange(900) < 600, 0.0, 20.0))
    assert shifted.is_doubtful.nonzero()[0].tolist() == [*range(600, 600 + FEW - 1)]
    stepped = built_in(shifted, "temperature_stepped")
    assert (stepped[600 : 600 + FEW] > 19).all()
    fading_s = math.log(20 / (4 * NOISE)) / FADING_PER_S
    assert (stepped[600 + FEW + math.ceil(fading_s) :] < 5 * NOISE).all(), "and fades"
    for name in MEANS:
        after = built_in(shifted, name)[600 + FEW :]
        assert np.isnan(after[0])
        assert not (np.abs(after) > NOISE).any(), "what was before says nothing about what comes after"


def test_a_level_that_is_back_where_it_usually_is_has_nothing_left_after_a_few_events():
    signals = usual_drive(900)[1]
    away = slice(600, 700)
    shift = np.zeros(900)
    shift[away] = 20.0
    back = driven(temperature=signals["temperature"] + shift)
    assert not back.is_doubtful[away.stop :].any(), "that it returns is nothing to doubt"
    assert (built_in(back, "temperature_stepped")[away.stop :] < 5 * NOISE).all()
    for name in MEANS:
        assert not (np.abs(built_in(back, name)[away.stop + int(BACK_EVENTS) :]) > 2 * NOISE).any()


def test_a_shift_that_is_over_is_forgotten_and_one_that_goes_on_is_not():
    rng = np.random.default_rng(3)
    seconds = np.arange(900)
    stolen = 80 - np.clip((seconds - 400) * 0.5, 0, 25) + rng.normal(0, 0.2, 900)  # 25 % in 50 s
    leaking = 80 - 0.05 * seconds + rng.normal(0, 0.2, 900)
    over, lasting = (built_in(driven(fuelLevel=fuel), "fuelLevel_slow") for fuel in (stolen, leaking))
    assert over[445] < -2
    assert not (over[650:] < -1).any()
    assert (lasting[400:] < -2).all()


def test_a_slow_drift_is_not_taken_for_a_new_level():
    drift_s = np.clip(np.arange(900.0) - 400, 0, None)
    warming = driven(temperature=usual_drive(900)[1]["temperature"] + 0.05 * drift_s)
    assert not warming.is_doubtful.any()
    assert (built_in(warming, "temperature_slow")[500:] > 1).all()


# Resolution ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "step"), [("temperature", 1.0), ("fuelLevel", 5.0), ("battery", 0.5)])
def test_one_step_of_a_coarse_signal_means_nothing(name, step):
    values = np.where(np.arange(900) < 450, 60.0, 60.0 - step)
    coarse = driven(**{name: values})
    for kind in ("medium", "slow", "rough", "stepped"):
        found = built_in(coarse, f"{name}_{kind}")
        assert np.nanmax(np.abs(found)) == 0.0, kind
    assert not coarse.is_doubtful.any()


def test_a_tank_that_is_told_in_steps_of_five_percent_may_slosh():
    rng = np.random.default_rng(1)
    level = 60 - 0.01 * np.arange(900) + rng.normal(0, 1, 900)
    coarse = driven(fuelLevel=5 * np.round(level / 5))
    for kind in ("medium", "slow", "stepped"):
        assert np.nanmax(np.abs(built_in(coarse, f"fuelLevel_{kind}"))) == 0.0, kind


def test_several_steps_of_a_coarse_signal_are_a_shift():
    coarse = driven(fuelLevel=np.where(np.arange(900) < 450, 60.0, 30.0))
    assert built_in(coarse, "fuelLevel_stepped")[460] > 10


# Stillness -----------------------------------------------------------------------------------------------------------

STILL = slice(400, 460)


def test_a_signal_that_does_not_change_is_surprising_where_others_do():
    frozen = built_in(driven(**changed("temperature", STILL, 88.0)), "temperature_frozen")
    assert (frozen[: STILL.start] < 0.1).all()
    assert (np.diff(frozen[STILL]) >= 0).all(), "the longer, the more"
    assert frozen[STILL.stop - 1] > 3
    assert frozen[STILL.stop] == 0


def test_a_signal_that_does_not_change_says_nothing_where_no_other_does():
    signals = usual_drive(900)[1]
    held = {name: np.where(np.arange(900) // 60 == 7, values[420], values) for name, values in signals.items()}
    block = driven(**held)
    for name in ("speed", "temperature", "battery", "fuelLevel", "place"):
        assert np.nanmax(built_in(block, f"{name}_frozen")[420:480]) < 0.1, name


def test_a_vehicle_may_stand_while_its_other_signals_move():
    stands = np.arange(900) >= 400
    speed = np.where(stands, 0.0, usual_drive(900)[1]["speed"])
    assert np.nanmax(built_in(driven(speed=speed), "speed_frozen")[420:]) < 0.1


def test_a_signal_that_seldom_changes_may_stay_as_it_is():
    coarse = driven(temperature=np.round(88 + 3 * np.sin(np.arange(900) / 60)))
    assert np.nanmax(built_in(coarse, "temperature_frozen")) < 3


def test_a_vehicle_that_stands_is_expected_to_stand():
    standing = np.arange(900) // 150 % 2 == 1
    signals = usual_drive(900)[1]
    latitude = np.where(standing, signals["latitude"][150], signals["latitude"])
    block = driven(speed=np.where(standing, 0.0, signals["speed"]), latitude=latitude)
    for name in ("speed_frozen", "place_frozen"):
        assert np.nanmax(built_in(block, name)[standing]) < 2.5
    assert np.nanmax(built_in(block, "temperature_frozen")) < 1


# Absence -------------------------------------------------------------------------------------------------------------


def test_a_signal_that_drops_out_is_surprising_within_six_events():
    """In nats: a hundred events that had it, and then some that have not."""
    lost = np.expm1(built_in(driven(**changed("temperature", slice(100, 200), NAN)), "temperature_lost"))
    assert (lost[:100] < 0.1).all()
    assert lost[105] > -math.log(1e-4)
    assert lost[200] == 0


def test_what_comes_now_and_then_may_be_absent():
    rng = np.random.default_rng(2)
    temperature = np.where(rng.random(900) < 0.3, usual_drive(900)[1]["temperature"], NAN)
    lost = built_in(driven(temperature=temperature), "temperature_lost")
    assert np.nanmax(lost[100:]) < math.log1p(-math.log(1e-5))


def test_a_sender_that_only_sends_what_has_changed_loses_nothing():
    signals = usual_drive(900)[1]
    sent = {}
    for name, step in (("temperature", 1.0), ("fuelLevel", 1.0), ("speed", 1.0)):
        values = step * np.round(signals[name] / step)
        sent[name] = np.where(np.append(True, values[1:] != values[:-1]), values, NAN)
    block = driven(**sent)
    for name in sent:
        assert np.nanmax(built_in(block, f"{name}_lost")[50:]) < 1, name


def test_a_vehicle_that_never_says_a_signal_has_nothing_to_lose():
    time_s, signals = usual_drive(100)
    del signals["battery"]
    block = of_one(BUILT_IN, time_s, time_s, **signals)
    assert np.isnan(built_in(block, "battery_lost")).all()


# Roughness -----------------------------------------------------------------------------------------------------------


def test_rough_and_stepped_grow_with_what_moves():
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, 300) * np.where(np.arange(300) < 200, 1, 4)
    block = of_one(BUILT_IN, START_S + np.arange(300.0), temperature=80 + noise)
    for name in ("temperature_rough", "temperature_stepped"):
        found = built_in(block, name)
        assert 0.5 < found[199] < 8
        assert found[299] > 1.8 * found[199]
