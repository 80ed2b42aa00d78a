"""The detector's names in words."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[str], Any]

FAULTS = (
    "overspeed harsh_braking engine_overheat coolant_drift battery_low fuel_theft fuel_leak stuck_sensor gps_jump "
    "gps_spoof sensor_bias drop_out message_loss clock_skew silent"
).split()


def test_every_fault_has_words_of_its_own(run: Run) -> None:
    words, unknown = run(f"""
        const {{ causeName }} = await load("words/phrases");
        return [{FAULTS}.concat("context").map(causeName), [causeName(null), causeName("never_heard_of")]];
    """)
    assert len(set(words)) == 16
    assert all(name and "_" not in name for name in words)
    assert dict(zip(FAULTS, words, strict=False))["drop_out"] == "Signal missing"
    assert unknown == ["Unusual behaviour", "Never heard of"]


@pytest.mark.parametrize(
    ("episode", "words"),
    [
        ("{open: true, closedBy: null}", "Ongoing"),
        ("{open: false, closedBy: 'recovery'}", "Recovered"),
        ("{open: false, closedBy: 'silence'}", "Fell silent"),
        ("{open: false, closedBy: null}", "Ended"),
    ],
)
def test_an_episodes_state_in_words(run: Run, episode: str, words: str) -> None:
    assert run(f"const {{ episodeState }} = await load('words/phrases'); return episodeState({episode})") == words


def test_contributions_are_words_in_order_and_bear_junk(run: Run) -> None:
    assert run("""
        const { contributionsInWords } = await load("words/phrases");
        const { readEvent } = await load("state/records/scored_event");
        const words = (contributions) => contributionsInWords(readEvent(event({contributions})));
        return [words({fuelLevel_slow: 0.25, speed_over_limit_level: 0.71, night: 0.01, bad: "x", worse: null}),
          words(null), words("text"), words({speedMean: 2})];
    """) == ["Speed over limit 71 %, fuel in the last minutes 25 %", "", "", "Speed mean 100 %"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("{cause: 'overspeed', anomalousEvents: 3, events: 1200}", ["3 of 1,200 events anomalous", "3×"]),
        ("{cause: 'silent', usualPause: 1.98}", ["Nothing heard since TIME; an event every 2 s was usual", ""]),
        (
            "{cause: 'silent', usualPause: 900, state: 'closed'}",
            ["Nothing heard after TIME; an event every 15 min was usual", ""],
        ),
        ("{cause: 'silent'}", ["Nothing heard since TIME", ""]),
    ],
    ids=["alarms", "silent", "heard again", "no rhythm said"],
)
def test_what_an_episode_rests_on_in_words(run: Run, fields: str, words: list[str]) -> None:
    assert (
        run(f"""
        const {{ alarmsInWords, groundsInWords }} = await load("words/phrases");
        const {{ clockTime }} = await load("words/format");
        const {{ readEpisode }} = await load("state/records/episode");
        const episode = readEpisode({{episodeId: "V:0:1", vehicleId: "V", openedAt: 1000, state: "open", ...{fields}}});
        return [groundsInWords(episode).replace(clockTime(1000), "TIME"), alarmsInWords(episode)];
    """)
        == words
    )


def test_contributions_say_what_was_expected_of_values(run: Run) -> None:
    assert run("""
        const { contributions } = await load("words/phrases");
        const { readEvent } = await load("state/records/scored_event");
        const shares = {temperature_level: 0.6, temperature_slow: 0.3, battery_level: 0.1};
        const expected = {temperature_level: [84.2, 90.5, 97.1], temperature_slow: [-1, 0, 1]};
        const sent = {temperature: 121, battery: 80, contributions: shares, expected};
        return contributions(readEvent(event(sent))).map(({ expected }) => expected);
    """) == ["84 to 97 °C", None, None]
