"""What was done about an episode, in words."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]


def test_a_handling_is_said_in_one_line_and_nothing_is_not_said(run: Run) -> None:
    assert run("""
        const { readHandling } = await load("state/records/handling");
        const { handlingInWords } = await load("words/handling");
        const raw = {version: 4, status: "acknowledged", assignee: "ana", label: "falseAlarm", comments: 1};
        return [handlingInWords(readHandling(undefined)), handlingInWords(readHandling(raw)),
          handlingInWords(readHandling({version: 1, status: "snoozed", snoozedUntil: 1764540000, comments: 2}))
            .replace(/\\d\\d:\\d\\d:\\d\\d/, "HH:MM:SS")];
    """) == [
        "",
        "Acknowledged · With ana · False alarm · 1 comment",
        "Snoozed until HH:MM:SS · 2 comments",
    ]


def test_actions_are_said_with_who_and_what(run: Run) -> None:
    said = run("""
        const { readActions } = await load("state/records/handling");
        const { actionInWords } = await load("words/handling");
        const by = (done) => ({by: "ana", at: 1764540000, do: done});
        return readActions([by({kind: "acknowledge"}), by({kind: "assign", assignee: null}),
          by({kind: "label", label: "expected"}), by({kind: "comment", text: "<b>seen</b>"}), by({kind: "reopen"}),
          {by: 7}, null]).map(actionInWords);
    """)
    assert [line.partition(" · ")[2] for line in said] == [
        "ana acknowledged it",
        "ana gave it to nobody",
        "ana called it: expected",
        "ana wrote: <b>seen</b>",
        "ana opened it again",
    ]


def test_controls_ask_for_what_they_say(run: Run) -> None:
    assert run("""
        const { wanted } = await load("views/details/handling");
        return [wanted("take", "", "ana"), wanted("label", "", "ana"), wanted("snooze", "", "ana", 1000),
          wanted("comment", "  ", "ana"), wanted("comment", " seen ", "ana"), wanted("acknowledge", "", "ana")];
    """) == [
        {"kind": "assign", "assignee": "ana"},
        {"kind": "label", "label": None},
        {"kind": "snooze", "until": 4600},
        None,
        {"kind": "comment", "text": "seen"},
        {"kind": "acknowledge"},
    ]


def test_a_sender_is_said_with_its_findings_first(run: Run) -> None:
    assert run("""
        const { readSender } = await load("state/records/sender");
        const { senderFields } = await load("views/details/sender");
        const finding = {kind: "unit", signal: "speed", detail: "speed is 0.54 of what its positions say."};
        const report = {events: 900, repeats: 2, late: 0, deadLetters: 0, interval: 1.02, intervalStanding: null,
          delay: 0.25, signals: {fuelLevel: {sent: 0}, speed: {sent: 1}}, findings: [finding]};
        return [readSender(null), senderFields(readSender(report)).map(([name, value]) => `${name}: ${value}`)];
    """) == [
        None,
        [
            "Finding: speed is 0.54 of what its positions say.",
            "Reports every: 1.0 s",
            "Usual delay: 0.3 s",
            "Events: 900",
            "Sent before: 2",
            "Never sent: Fuel level",
        ],
    ]
