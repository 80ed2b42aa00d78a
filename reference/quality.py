"""Sections of the benchmarks page about what the system survives and what it detects."""

from collections.abc import Mapping
from typing import Any, Final

from reference import markdown

_BOOKS: Final = ("lost", "doubled", "reordered")


def faults_section(results: Mapping[str, Any]) -> list[str]:
    """Return the table of a run of the fault suite."""
    cases = results["cases"]
    roles = dict.fromkeys(role for case in cases for role in case["peak_mib"])
    rows = [
        (
            str(case["number"]),
            case["name"],
            *(_count(case[name]) for name in _BOOKS),
            "never" if case["normal_after_s"] is None else f"{case['normal_after_s']:.1f}",
            f"{case['normal_within_s']:g}",
            *(f"{case['peak_mib'].get(role, 0.0):,.0f}" for role in roles),
            "; ".join(case["failures"]) or "met" * _is_met(case) or "late",
        )
        for case in cases
    ]
    met = sum(map(_is_met, cases))
    return [
        f"Each case strikes a running system under {results['rate']:,.0f} events/s, and reads every topic afterwards.",
        "Lag is normal once no partition has more unscored records than arrive there in about a second.",
        f"{met} of {len(cases)} cases met every target; the seed was {results['seed']}.",
        "",
        *markdown.table(
            ("", "fault", *_BOOKS, "normal after, s", "aim, s", *(f"{role}, peak MiB" for role in roles), "outcome"),
            rows,
        ),
    ]


def _is_met(case: Mapping[str, Any]) -> bool:
    after_s = case["normal_after_s"]
    return not case["failures"] and after_s is not None and after_s <= case["normal_within_s"]


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def evaluation_section(results: Mapping[str, Any]) -> list[str]:
    """Return the tables of a run of the evaluation."""
    hours = results["vehicle_hours_trained_on"]
    lines = [
        f"{len(results['seeds'])} detectors were trained from scratch, each on {hours:g} vehicle-hours.",
        "Each was judged on simulated vehicles in a city that neither training nor calibration saw.",
        "Every figure is the worst of them.",
        "A fault counts as found when an episode opens between its onset and its end.",
        "",
        *_faults(results),
        *_rates(results),
        "Single events, at 2 % prevalence, beside baselines on the same features:",
        "",
        *_detectors(results),
    ]
    if contaminated := results["average_precision_contaminated"]:
        lines += [
            f"Trained with 5 % unlabelled faults, average precision is {min(contaminated):.3f}, "
            f"and {results['average_precision_of_the_same_seed']:.3f} without them.",
            "",
        ]
    return lines


def _faults(results: Mapping[str, Any]) -> list[str]:
    aims = results["aims"]
    rows = [
        (
            fault.replace("_", " "),
            f"{found['stretches']:,}",
            f"{found['found']:.3f}",
            f"≥ {aims[fault]['found']:.2f}" if fault in aims else "",
            _seconds(found["delay_s"]),
            f"≤ {aims[fault]['delay_s']:.0f}" if fault in aims else "",
            _share(found["cause_right"]),
        )
        for fault, found in results["faults"].items()
    ]
    return markdown.table(("fault", "number", "found", "aim", "median delay, s", "aim, s", "cause right"), rows)


def _rates(results: Mapping[str, Any]) -> list[str]:
    rows = [
        ("false episodes per vehicle-hour, new city", f"{results['false_episodes_per_hour']:.3f}"),
        ("false episodes per vehicle-hour, at home", f"{results['false_episodes_per_hour_at_home']:.3f}"),
        ("cause right in the faults found", f"{results['cause_right']:.1%}"),
        ("false alarm rate, promised", f"{results['nominal_rate']:.3%}"),
        ("false alarm rate, new city", f"{results['false_alarm_rate']:.3%}"),
        ("false alarm rate, at home", f"{results['false_alarm_rate_at_home']:.3%}"),
    ]
    return markdown.table(("", "worst"), rows)


def _detectors(results: Mapping[str, Any]) -> list[str]:
    names = ("roc_auc", "average_precision", "recall_at_1_percent", "recall_at_1_per_mille")
    rows = [(detector, *(f"{measured[name]:.3f}" for name in names)) for detector, measured in results["rows"].items()]
    head = ("detector", "ROC AUC", "average precision", "recall at 1 % false alarms", "recall at 0.1 % false alarms")
    return markdown.table(head, rows)


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
