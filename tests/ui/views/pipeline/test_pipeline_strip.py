"""The pipeline's figures in one line: what the gateway's answer holds, and only that."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[str], Any]


def items_of(run: Run, answer: str, equal: str = "true") -> dict[str, dict[str, Any]]:
    items = run(f"return (await load('views/pipeline/pipeline_strip')).items({answer}, {equal})")
    return {item["name"]: item for item in items}


def test_items_have_the_answers_figures_in_words(run: Run) -> None:
    items = items_of(
        run,
        "{read: 1200, scored: 1190, deadLettered: 3, inFlight: 7, keyless: 1100, lag: 9, oldestUnscoredSeconds: 12,"
        " latencyMs: {p50: 4.26, p95: 20, p99: null}, dropped: 2, replicas: {Ingest: 2, Scorer: 1, Gone: null},"
        " modelVersion: 'm7'}",
        equal="false",
    )
    assert {name: item["value"] for name, item in items.items()} == {
        "Read": "1,200",
        "Scored": "1,190",
        "Dead letters": "3",
        "In flight": "7",
        "Without a key": "1,100",
        "Lag": "9",
        "Oldest unscored": "12 s",
        "p50 / p95 / p99": "4.3 / 20 / – ms",
        "Dropped for slow clients": "2",
        "Replicas": "ingest 2, scorer 1",
        "Model": "m7",
    }
    assert items["Scored"]["sign"] == "≠"
    assert (items["Dead letters"]["mood"], items["Oldest unscored"]["mood"]) == ("worry", "bad")


@pytest.mark.parametrize("answer", ["{}", "{latencyMs: 7, dropped: '3', replicas: 'two', modelVersion: null}"])
def test_items_claim_nothing_that_the_answer_does_not_say(run: Run, answer: str) -> None:
    items = items_of(run, answer)
    assert {item["value"] for item in items.values()} == {"–"}
    assert not {"Dropped for slow clients", "Without a key"} & items.keys()
    assert items["Dead letters"]["mood"] == ""
