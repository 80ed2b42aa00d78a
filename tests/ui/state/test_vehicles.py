"""The latest of every vehicle: newer wins, silent ones go, and there is a bound."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]


def test_vehicles_do_not_go_back_to_a_late_event(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const state = new FleetState();
        const speed = () => state.vehicles.speedKmh[state.vehicles.row("V1")];
        state.ingest([event({timestamp: 1000, scoredAt: 2000, speed: 50})], 2000);
        state.ingest([event({timestamp: 990, scoredAt: 2001, speed: 10})], 2001);
        const afterLate = speed();
        state.ingest([event({timestamp: 1001, scoredAt: 2002, speed: 60})], 2002);
        const afterNext = speed();
        state.ingest([event({timestamp: 1, scoredAt: 2003, speed: 70})], 2003); // a clock that was set back
        return [afterLate, afterNext, speed()];
    """) == [50, 60, 70]


def test_vehicles_are_bounded_and_forget_the_longest_unheard(run: Run) -> None:
    assert run("""
        const { FleetState, DEFAULT_LIMITS } = await load("state/fleet");
        const state = new FleetState({...DEFAULT_LIMITS, vehicles: 20});
        for (let i = 0; i < 25; i++) state.ingest([event({vehicleId: `V${i}`})], 1000 + i);
        const { vehicles } = state;
        return [vehicles.size <= 20, vehicles.evicted, vehicles.row("V0"), vehicles.row("V24") >= 0,
          vehicles.end, vehicles.matching("v2", 3)];
    """) == [True, 6, -1, True, 20, ["V20", "V21", "V22"]]


def test_vehicles_silent_for_long_are_forgotten(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const state = new FleetState();
        state.ingest([event({vehicleId: "quiet"})], 1000);
        state.ingest([event({vehicleId: "loud"})], 1000 + 1801);
        return [state.vehicles.row("quiet"), state.vehicles.size];
    """) == [-1, 1]
