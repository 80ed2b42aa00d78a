import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.report import EpisodeView, RealisedRates, Report, ScoredRows, Table, render, write_report

pytestmark = pytest.mark.filterwarnings("error")


def _episode(rows: int = 3000, **changes):
    time_s = 1e9 + np.arange(float(rows))
    signals = {"coolant °C": np.full(rows, np.nan), "speed <km/h>": np.sin(time_s)}
    given = {
        "title": "truck & trailer",
        "cause": "coolant_drift",
        "truth": "engine_overheat",
        "time_s": time_s,
        "signals": signals,
        "score": np.linspace(0, 3, rows),
        "threshold": 2.0,
        "opened_s": float(time_s[rows // 2]),
        "closed_s": float(time_s[-1]) + 99,
        "faulty": np.arange(rows) > rows // 3,
    }
    return EpisodeView(**{**given, **changes})


def _full() -> Report:
    rng = np.random.default_rng(0)
    faulty = rng.random(3000) < 0.05
    return Report(
        title="Backtest <of> trucks",
        subtitle="Three & more",
        figures=(("found", "97 %"),),
        tables=(Table("By fault", ("fault", "found"), (("gps_jump", "1 < 2"),), "a note"),),
        rows=ScoredRows(
            {"autoencoder": rng.random(3000) + faulty, "PCA": rng.random(3000)}, 1.2, faulty, rng.random(3000) < 0.1
        ),
        delays_s={"gps_jump": np.array([0.0, 1, np.inf]), "fuel_leak": np.array([np.inf]), "none": np.empty(0)},
        rates=(RealisedRates("home", np.array([1e-3, 1e-2]), np.array([0.0, 2e-2])),),
        episodes=(_episode(),),
    )


def test_report_shows_all_it_was_given(tmp_path):
    path = tmp_path / "report.html"
    write_report(_full(), path)
    page = path.read_text(encoding="utf-8")
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    expected = ["By fault", "Scores", "Detector and baselines", "Delay of detection"]
    assert titles == [*expected, "False alarms: promised and realised", "Episodes"]
    assert page.count("<svg") == 6
    assert 'named cause <b class="cause">coolant drift</b> · labelled engine overheat' in page


def test_report_is_one_file_without_outside_links():
    page = render(_full())
    linked = re.findall(r"""(?:href|src)\s*=\s*["']([^"']*)|url\(([^)]*)\)""", page)
    targets = {(one or other).strip("\"'") for one, other in linked}
    assert targets
    assert all(target.startswith("#") for target in targets)
    assert "<script" not in page
    assert "<link" not in page


def test_report_escapes_what_it_was_given():
    page = render(_full())
    for raw in ("<of>", "Three & more", "1 < 2", "truck & trailer"):
        assert raw not in page
    assert "<h1>Backtest &lt;of&gt; trucks</h1>" in page


def test_report_is_the_same_for_the_same_figures():
    assert render(_full()) == render(_full())


def test_report_without_labels_has_neither_curves_nor_delays():
    rows = ScoredRows({"autoencoder": np.arange(10.0)}, 8.5)
    page = render(Report("Backtest", "", rows=rows, episodes=(_episode(faulty=None, truth=None, cause=None),)))
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Scores", "Episodes"]
    assert "labelled" not in page.split("<article>")[1]


def test_report_of_nothing_has_no_sections():
    assert "<section" not in render(Report("Backtest", ""))


SCORES = st.lists(st.sampled_from([0.0, 1e-12, 1.0, 1e12, np.inf, -1.0]), max_size=5)


@settings(max_examples=10)
@given(SCORES, st.sampled_from([0.0, 1.0, np.inf, -1.0]), st.randoms(use_true_random=False))
def test_report_draws_any_scores(scores, threshold, random):
    faulty = np.array([random.random() < 0.5 for _ in scores], bool)
    page = render(Report("Backtest", "", rows=ScoredRows({"autoencoder": np.array(scores)}, threshold, faulty)))
    both = faulty.any() and not faulty.all()
    assert page.count("<svg") == (3 if both else bool(scores))


@pytest.mark.parametrize("rows", [1, 2, 999, 5001])
def test_report_draws_episodes_of_any_length(rows):
    page = render(Report("Backtest", "", episodes=(_episode(rows),)))
    assert page.count("<svg") == 1
    assert len(page) < 200_000
