"""What the page knows of the fleet, from snapshots and frames, with time passed in."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]


def test_snapshot_changes_only_what_is_newer_and_counts_nothing_twice(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const state = new FleetState();
        const bad = {is_anomaly: true, anomalyType: "overspeed"};
        state.ingest([event({...bad, timestamp: 1005, scoredAt: 1005, speed: 150})], 1005);
        state.applySnapshot([event({...bad, timestamp: 1003, scoredAt: 1003, speed: 140}),
          event({vehicleId: "V2", timestamp: 900, scoredAt: 900}), null, {}], 1006);
        return [state.vehicles.speedKmh[state.vehicles.row("V1")], state.vehicles.size, state.received,
          state.unreadable, state.vehicles.seenS[state.vehicles.row("V2")], state.recent.length];
    """) == [150, 2, 1, 2, 900, 1]


def test_chosen_vehicle_joins_history_and_live_events_once(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const { readEvent } = await load("state/records/scored_event");
        const state = new FleetState();
        state.chosen.choose("V1");
        const before = state.chosen.status;
        const at = (second) => event({timestamp: second, scoredAt: second, source: `0:${second}`});
        state.ingest([at(1003), event({vehicleId: "other"}), at(1004)], 1004);
        state.chosen.load(readEvent(at(1003)), [1001, 1002, 1003].map(at).map(readEvent));
        state.ingest([at(1005)], 1005);
        state.chosen.refuse("failed", "too late to matter");
        return [before, state.chosen.history().map((reading) => reading.timeS), state.chosen.latest.timeS,
          state.chosen.status];
    """) == ["loading", [1001, 1002, 1003, 1004, 1005], 1005, "ready"]


def test_an_hour_of_events_leaves_the_state_no_larger_than_its_limits(run: Run) -> None:
    sizes = run("""
        const { FleetState, DEFAULT_LIMITS } = await load("state/fleet");
        const state = new FleetState({...DEFAULT_LIMITS, vehicles: 3000, traceCells: 5000});
        state.chosen.choose("V1");
        let n = 0;
        for (let second = 0; second < 3600; second++) {
          const frame = [];
          for (let i = 0; i < 100; i++, n++) {
            frame.push(event({vehicleId: `V${n % 4000}`, timestamp: second, scoredAt: second, appendedAt: second,
              latitude: -31 + (n % 997) / 1000, longitude: -64 + (n % 1009) / 1000, is_anomaly: n % 20 === 0,
              anomalyType: `cause${n % 7}`, source: `0:${n}`, episodeId: `V:0:${n}`}));
          }
          state.ingest(frame, 1e9 + second);
        }
        return {received: state.received, vehicles: state.vehicles.size, columns: state.vehicles.end,
          recent: state.recent.length, episodes: state.episodes.noted, cells: state.traces.size,
          chosen: state.chosen.length, axis: state.trends.series(1e9 + 3600, "events").values.length};
    """)
    assert sizes["received"] == 360_000
    assert sizes["vehicles"] <= sizes["columns"] <= 3000
    assert (sizes["recent"], sizes["episodes"], sizes["axis"]) == (200, 1000, 300)
    assert 2500 <= sizes["cells"] <= 5000
    assert sizes["chosen"] <= 600
