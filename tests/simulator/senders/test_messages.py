"""Signals that are lacking, and messages that hold some."""

import numpy as np

from simulator.senders import SIGNALS
from tests.simulator.senders.made_up_fleet import driven


def known(own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: ~np.isnan(own[name]) for name in SIGNALS}


def test_missing_keys_are_always_missing_and_something_is_left():
    kinds = set()
    for own in driven("missing_keys", 30, count=60):
        shares = {name: flags.mean() for name, flags in known(own).items()}
        assert set(shares.values()) == {0.0, 1.0}
        assert shares["speed"] == 1
        kinds.add(frozenset(name for name, share in shares.items() if share == 0))
    assert len(kinds) == 8


def test_what_is_not_fitted_has_a_constant():
    constants = set()
    for own, ideal in zip(driven("not_fitted", 30, count=60), driven("", 30, count=60), strict=True):
        altered = [name for name in SIGNALS if not np.array_equal(own[name], ideal[name])]
        assert altered
        assert all(np.ptp(own[name]) == 0 for name in altered)
        constants.add((altered[0], own[altered[0]][0]))
    assert constants == {
        ("battery", 0), ("battery", 255), ("fuelLevel", 0), ("fuelLevel", 255), ("latitude", 0),
        ("temperature", -40), ("temperature", 255),
    }  # fmt: skip


def test_slow_obd_comes_with_every_few_positions():
    every = set()
    for own in driven("slow_obd", 300, count=40):
        flags = known(own)
        assert flags["latitude"].all()
        messages = np.diff(np.flatnonzero(flags["temperature"]))
        assert len(set(messages)) == 1
        every.add(int(messages[0]))
        assert (flags["battery"] == flags["temperature"]).all()
        assert flags["speed"].all() or (flags["speed"] == flags["temperature"]).all()
    assert 5 in every
    assert every <= set(range(3, 11))
    assert len(every) > 3


def test_split_messages_take_turns():
    for own in driven("split_messages", 50):
        flags = known(own)
        assert (flags["latitude"] != flags["temperature"]).all()
        assert (flags["latitude"][1:] != flags["latitude"][:-1]).all()
        assert (flags["speed"] == flags["latitude"]).all()


def test_rare_signals_come_with_every_tenth_message():
    for own in driven("rare_signals", 200):
        flags = known(own)
        rare = [name for name in SIGNALS if not flags[name].all()]
        assert rare
        assert not set(rare) & {"latitude", "longitude", "speed"}
        for name in rare:
            assert set(np.diff(np.flatnonzero(flags[name]))) == {10}


def test_only_what_has_changed_is_sent_and_the_speed():
    told_in_full = set()
    for own in driven("only_changed", 700, count=12):
        for name, flags in known(own).items():
            assert flags[0]
            said = own[name][flags]
            if name != "speed":
                in_full = np.isin(np.flatnonzero(flags)[1:], np.flatnonzero(~np.isnan(own["speedLimit"])))
                assert (np.diff(said)[~in_full] != 0).all()
        assert (own["speed"] == np.round(own["speed"])).all()
        told_in_full.add(int((~np.isnan(own["speedLimit"])).sum()))
    assert told_in_full == {1, 3}, "once, or every five minutes"


def test_the_last_known_values_of_a_changes_sender_are_right():
    for own, ideal in zip(driven("only_changed", 200), driven("", 200), strict=True):
        for name in ("temperature", "battery", "fuelLevel"):
            last = np.maximum.accumulate(np.where(np.isnan(own[name]), 0, np.arange(len(own[name]))))
            np.testing.assert_array_equal(own[name][last], np.round(ideal[name]))
