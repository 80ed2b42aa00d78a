"""Telling a quiet fleet from a dead socket. Time and answers are fakes."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]

LIVENESS = """
    const { Liveness } = await load("net/liveness");
    let answer = { reachable: true, scored: 100 }, asked = 0;
    const dead = [];
    const liveness = new Liveness(async () => { asked++; return answer; }, (reason) => dead.push(reason));
    const watch = async (fromS, toS) => { for (let s = fromS; s <= toS; s++) await liveness.check(s * 1000); };
    liveness.opened(0);
"""


def test_liveness_leaves_a_quiet_fleet_alone(run: Run) -> None:
    asked, dead = run(LIVENESS + "await watch(1, 120); return [asked, dead];")
    assert 30 <= asked <= 40
    assert dead == []


def test_liveness_does_not_ask_while_frames_come(run: Run) -> None:
    assert (
        run(
            LIVENESS
            + "for (let s = 1; s < 60; s++) { liveness.frame(s * 1000); await liveness.check(s * 1000); } return asked;"
        )
        == 0
    )


def test_liveness_finds_a_socket_dead_when_the_server_is_gone(run: Run) -> None:
    assert run(LIVENESS + "answer = { reachable: false, scored: null }; await watch(1, 30); return [asked, dead];") == [
        2,
        ["The server does not answer."],
    ]


def test_liveness_finds_a_socket_dead_when_events_pass_it_by(run: Run) -> None:
    assert run(
        LIVENESS + "for (let s = 1; s < 30; s++) { answer.scored += 10; await liveness.check(s * 1000); } return dead;"
    ) == ["Events flow, but none reached this page."]


def test_liveness_forgives_when_a_frame_comes_after_all(run: Run) -> None:
    assert (
        run(
            LIVENESS
            + """
        answer = { reachable: false, scored: null };
        await watch(1, 8);
        liveness.frame(9000);
        answer = { reachable: true, scored: 1 };
        await watch(9, 40);
        return dead;
        """
        )
        == []
    )


def test_liveness_asks_at_once_after_sleep(run: Run) -> None:
    assert run(
        LIVENESS
        + """
        answer = { reachable: false, scored: null };
        await liveness.check(100, true);
        await watch(1, 4);
        return [asked, dead.length];
        """
    ) == [2, 1]
