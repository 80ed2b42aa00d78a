"""What the page knows: pure modules, driven with time passed in."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[str], Any]


def test_ring_keeps_the_newest(run: Run) -> None:
    assert run("""
        const { Ring } = await load("state/ring");
        const ring = new Ring(3);
        const early = [ring.toArray(), ring.newest(2)];
        for (const item of [1, 2, 3, 4, 5]) ring.push(item);
        return [...early, ring.toArray(), ring.newest(2), ring.newest(9), ring.length];
    """) == [[], [], [3, 4, 5], [5, 4], [5, 4, 3], 3]


def test_reading_takes_what_is_missing_or_wrong_as_unknown(run: Run) -> None:
    reading = run("""
        const { readEvent } = await load("state/reading");
        return readEvent({vehicleId: "__proto__", timestamp: "soon", latitude: 900, longitude: "1", speed: null,
          severity: "high", contributions: [], is_anomaly: "yes", anomalyType: 7});
    """)
    assert reading["vehicleId"] == "__proto__"
    unknown = ("timeS", "latitude", "longitude", "speedKmh", "temperatureC", "severity", "cause", "error", "source")
    assert [reading[name] for name in unknown] == [None] * len(unknown)
    assert reading["isAnomaly"] is False


@pytest.mark.parametrize(
    "not_an_event",
    ["null", "7", "'text'", "[]", "{}", "{vehicleId: 7}", "{vehicleId: ''}", "{vehicleId: 'v'.repeat(257)}"],
)
def test_reading_refuses_what_is_not_an_event(run: Run, not_an_event: str) -> None:
    assert run(f"const {{ readEvent }} = await load('state/reading'); return readEvent({not_an_event})") is None


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        ("1764533865.5", 1764533865.5),
        ("'2026-01-01T00:00:00Z'", 1767225600),
        ("'2026-01-01T00:00:00'", 1767225600),
        ("'2026-01-01T02:00:00.250+02:00'", 1767225600.25),
        ("'2026-01-01T02:00:00+0200'", 1767225600),
        ("NaN", None),
    ],
)
def test_reading_understands_timestamps(run: Run, timestamp: str, seconds: float | None) -> None:
    assert run(f"const {{ timestampS }} = await load('state/reading'); return timestampS({timestamp})") == seconds


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


EPISODE = """
    const episode = (fields = {}) => ({episodeId: "V1:0:7", vehicleId: "V1", state: "open", openedAt: 1000,
      updatedAt: 1010, closedAt: null, cause: "overspeed", severity: 0.8, peakError: 4, events: 9, anomalousEvents: 8,
      worst: ["0:7"], closedBy: null, ...fields});
"""


def test_episodes_are_what_the_server_said_last(run: Run) -> None:
    assert run(
        EPISODE
        + """
        const { Episodes } = await load("state/episodes");
        const episodes = new Episodes(10);
        const before = episodes.loaded;
        episodes.load([episode(), episode({episodeId: "V2:0:9", openedAt: 1005, severity: 0.6})], [null, {}, "x"]);
        const ids = (order) => episodes.list(order).open.map(({ id }) => id);
        const both = [ids("time"), ids("severity")];
        const ended = {state: "closed", closedBy: "recovery"};
        episodes.load([], [episode({...ended}), episode({...ended, episodeId: "V3:0:1", updatedAt: 1020})]);
        const { open, closed } = episodes.list();
        return [before, ...both, open, closed.map(({ id }) => id), closed[0].closedBy];
    """
    ) == [False, ["V2:0:9", "V1:0:7"], ["V1:0:7", "V2:0:9"], [], ["V3:0:1", "V1:0:7"], "recovery"]


def test_episodes_with_missing_or_wrong_fields_are_taken_as_far_as_they_go(run: Run) -> None:
    assert run("""
        const { readEpisode } = await load("state/episodes");
        const worst = [1, "0:1", null, "0:2", "0:3", "0:4"];
        const bare = readEpisode({episodeId: "V:0:1", vehicleId: "V", openedAt: 5, worst,
          severity: "high", cause: 7});
        const refused = [null, {}, {episodeId: "V:0:1", vehicleId: "V", openedAt: "soon"}].map(readEpisode);
        return [bare.worst, bare.severity, bare.cause, bare.updatedAtS, bare.open, bare.events, refused];
    """) == [["0:1", "0:2", "0:3"], None, None, 5, False, 0, [None, None, None]]


def test_the_worst_live_event_that_shows_an_episodes_cause_is_kept_and_few_are(run: Run) -> None:
    assert run(
        EPISODE
        + """
        const { FleetState, DEFAULT_LIMITS } = await load("state/fleet");
        const { readEpisode } = await load("state/episodes");
        const state = new FleetState({...DEFAULT_LIMITS, episodeEvents: 3});
        const bad = (second, error, episodeId = "V1:0:7", anomalyType = "overspeed") => state.ingest([event({
          is_anomaly: true, timestamp: second, scoredAt: second, reconstruction_error: error, episodeId, anomalyType})],
          second);
        bad(1001, 3); bad(1002, 9); bad(1003, 5); bad(1004, 99, null); bad(1004, 20, "V1:0:7", "context");
        state.ingest([event({timestamp: 1005, scoredAt: 1005, reconstruction_error: 50, episodeId: "V1:0:7"})], 1005);
        const worst = state.episodes.worstOf(readEpisode(episode())).timeS;
        for (let n = 0; n < 9; n++) bad(1006 + n, 2, `V1:0:${n + 20}`);
        return [worst, state.episodes.noted, state.episodes.worstOf(readEpisode(episode()))];
    """
    ) == [1002, 3, None]


def test_an_open_episode_lasts_until_the_vehicles_latest_event(run: Run) -> None:
    assert run(
        EPISODE
        + """
        const { FleetState } = await load("state/fleet");
        const { readEpisode } = await load("state/episodes");
        const { lastedS } = await load("views/lists/episode_row");
        const state = new FleetState();
        const lasted = (fields) => lastedS(readEpisode(episode(fields)), state);
        const unseen = lasted();
        state.ingest([event({timestamp: 1025, scoredAt: 1025})], 1025);
        return [unseen, lasted(), lasted({state: "closed"}), lasted({vehicleId: "V9", updatedAt: 1000})];
    """
    ) == [10, 25, 10, 1]


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


def test_trends_count_whole_seconds_and_leave_gaps(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const state = new FleetState();
        const frame = (n, fields) => Array.from({length: n}, () => event(fields));
        state.ingest(frame(7, {}), 1000.9);          // the page was opened within this second
        state.ingest(frame(4, {speed: 40}), 1001.5);
        state.ingest(frame(2, {speed: 70, is_anomaly: true, reconstruction_error: 3}), 1001.9);
        state.ingest(frame(2, {speed: null, reconstruction_error: 0.5}), 1003.1);
        const { trends } = state;
        const tail = (...sums) => trends.series(1004.2, ...sums).values.slice(-4);
        return [tail("events"), tail("anomalies", "events"), tail("speed", "speeds"), tail("ratio"),
          trends.rates(1004.2).values.slice(-4),
          trends.recent(1004.2, "events"), trends.recent(1004.2, "speed", "speeds"), trends.recent(1000.95, "events")];
    """) == [
        [None, 6, None, 2],
        [None, 1 / 3, None, 0],
        [None, 50, None, None],
        [None, 3, None, 0.5],
        [None, 6, 0, 2],
        8 / 3,
        50,
        None,
    ]


def test_latency_is_never_negative_and_says_when_clocks_differ(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const ages = (appended) => {
          const state = new FleetState();
          state.ingest(appended.map((appendedAt) => event({appendedAt})), 1000);
          return state.trends.latency.quantiles(999, 1001);
        };
        const some = ages([999.5, 999.75, 999.75, 998, 999.875]);
        return [some, ages([1003, 1003, 1003]), ages([null])];
    """) == [{"p50S": 0.25, "p95S": 2, "ahead": False}, {"p50S": 0, "p95S": 0, "ahead": True}, None]


def test_latency_line_waits_for_a_second_to_be_over(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const state = new FleetState();
        for (const second of [1000, 1001, 1002]) state.ingest([event({appendedAt: second - 0.25})], second);
        return state.trends.series(1003, "p50", "closed").values.slice(-3);
    """) == [None, 0.25, None]


def test_chosen_vehicle_joins_history_and_live_events_once(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const { readEvent } = await load("state/reading");
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


def test_extent_is_not_fooled_by_an_outlier(run: Run) -> None:
    assert run("""
        const { extentOf } = await load("state/map/extent");
        const x = Float64Array.from({length: 500}, (_, i) => (i === 7 ? 0.5 : i === 8 ? NaN : 0.32 + i * 1e-6));
        const y = Float64Array.from({length: 500}, (_, i) => (i === 7 ? 0.5 : i === 8 ? NaN : 0.59 - i * 1e-6));
        const box = extentOf(x, y, 500);
        const none = extentOf(new Float64Array(4).fill(NaN), new Float64Array(4).fill(NaN), 4);
        return [box.left, box.right < 0.3206, box.top > 0.589, box.bottom, none];
    """) == [0.32, True, True, 0.59, None]


def test_camera_zooms_about_the_pointer_and_fits_what_it_is_given(run: Run) -> None:
    assert run("""
        const { Camera } = await load("state/map/camera");
        const camera = new Camera();
        camera.resize(800, 600);
        const box = {left: 0.3, right: 0.31, top: 0.6, bottom: 0.604};
        camera.fit(box, 50);
        const fitted = [camera.shows(box), camera.toPixelX(0.3) >= 50 - 1e-6, camera.toPixelX(0.31) <= 750 + 1e-6];
        const before = [camera.toMapX(100), camera.toMapY(200)];
        camera.zoom(3, 100, 200);
        const away = [camera.toMapX(100) - before[0], camera.toMapY(200) - before[1]];
        const still = away.every((map) => Math.abs(map) < 1e-12);
        return [...fitted, still, camera.shows(box)];
    """) == [True, True, True, True, False]


def test_mercator_goes_there_and_back(run: Run) -> None:
    assert run("""
        const { mapX, mapY, latitudeAt, longitudeAt } = await load("state/map/mercator");
        return [-85, -31.41, 0, 48.5, 85].every((latitude) => Math.abs(latitudeAt(mapY(latitude)) - latitude) < 1e-9)
          && Math.abs(longitudeAt(mapX(-64.18)) + 64.18) < 1e-9 && mapX(0) === 0.5 && mapY(0) === 0.5
          && mapY(90) >= 0 && mapY(-90) <= 1;
    """)
