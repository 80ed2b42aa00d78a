"""The episodes as the server told them last, and the worst live event of each."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]

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
        const { readEpisode } = await load("state/records/episode");
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
        const { readEpisode } = await load("state/records/episode");
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
        const { readEpisode } = await load("state/records/episode");
        const { lastedS } = await load("state/episodes");
        const state = new FleetState();
        const lasted = (fields) => lastedS(readEpisode(episode(fields)), state);
        const unseen = lasted();
        state.ingest([event({timestamp: 1025, scoredAt: 1025})], 1025);
        return [unseen, lasted(), lasted({state: "closed"}), lasted({vehicleId: "V9", updatedAt: 1000})];
    """
    ) == [10, 25, 10, 1]


def test_a_silence_lasts_for_as_long_as_others_are_heard(run: Run) -> None:
    assert run(
        EPISODE
        + """
        const { FleetState } = await load("state/fleet");
        const { readEpisode } = await load("state/records/episode");
        const { lastedS } = await load("state/episodes");
        const state = new FleetState();
        const lasted = (fields) => lastedS(readEpisode(episode({cause: "silent", updatedAt: 1121, ...fields})), state);
        const unheard = lasted();
        state.clockSkewS = 2;
        state.ingest([event({vehicleId: "other", timestamp: 1500})], 1500);
        return [unheard, lasted(), lasted({state: "closed"})];
    """
    ) == [121, 502, 121]


def test_snoozed_episodes_are_left_out_until_they_are_asked_for(run: Run) -> None:
    assert run(
        EPISODE
        + """
        const { Episodes } = await load("state/episodes");
        const handling = (status) => ({version: 1, status, comments: 0});
        const episodes = new Episodes(10);
        episodes.load([episode(), episode({episodeId: "b", handling: handling("acknowledged")})],
          [episode({episodeId: "c", state: "closed", handling: handling("snoozed")})]);
        return ["current", "new", "acknowledged", "snoozed"].map((status) => {
          const { open, closed } = episodes.list("time", status);
          return [...open, ...closed].map(({ id }) => id).sort();
        });
    """
    ) == [["V1:0:7", "b"], ["V1:0:7"], ["b"], ["c"]]
