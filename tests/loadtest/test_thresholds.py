from pathlib import Path

import pytest

from fleet.errors import SettingsError
from loadtest.thresholds import Thresholds, WayOut, read_thresholds, refuse_unmeasured


def _read(tmp_path: Path, text: str) -> Thresholds:
    file = tmp_path / "limits.toml"
    file.write_text(text)
    return read_thresholds(file)


def test_thresholds_are_read_with_their_defaults(tmp_path: Path) -> None:
    thresholds = _read(tmp_path, "[scored]\np99_ms = 120\n[generator]\nlateness_p99_ms = 50")
    assert thresholds.scored == WayOut(p99_ms=120.0, lost=0, duplicated=0, reordered=0)
    assert thresholds.predict is None
    assert thresholds.generator.lateness_p99_ms == 50


def test_the_example_is_valid_and_has_every_section_and_limit(project_folder: Path) -> None:
    import msgspec

    thresholds = read_thresholds(project_folder / "loadtest" / "thresholds.toml")
    for section in msgspec.structs.fields(Thresholds):
        assert getattr(thresholds, section.name) is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[scored\n", r"limits.toml: this is not TOML \(.*line 1"),
        ("[scord]\n", r"there is no section \[scord\]; there are scored, websocket, feed"),
        ("[scored]\np98_ms = 3", r"\[scored\] has no p98_ms; it has p50_ms, p95_ms, p99_ms, lost"),
        ("[scored]\np99_ms = 'fast'", r"scored.p99_ms: expected `float \| null`, got `str`"),
        ("[scored]\nlost = -1", r"scored.lost: expected `int` >= 0"),
        ("[scored]\nlost = 1.5", r"scored.lost: expected `int`, got `float`"),
        ("[predict]\nfailed_share = 1.5", r"predict.failed_share: expected `float` <= 1"),
        ("scored = 3", r"scored: expected `object \| null`, got `int`"),
        ("[feed]\np50_ms = 30\np99_ms = 20", r"\[feed\] p50_ms = 30 is above p99_ms = 20"),
        ("[scored]\np99_ms = nan", r"scored.p99_ms"),
    ],
)
def test_wrong_thresholds_are_refused_with_their_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        _read(tmp_path, text)


def test_thresholds_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none.toml cannot be read"):
        read_thresholds(tmp_path / "none.toml")


def test_a_section_that_nothing_measures_is_refused_with_the_option_that_would(tmp_path: Path) -> None:
    thresholds = _read(tmp_path, "[scored]\n[predict]\np99_ms = 50")
    refuse_unmeasured(thresholds, frozenset({"scored", "predict"}))
    with pytest.raises(SettingsError, match=r"section \[predict\], .* add --predict-rate, or leave the section out"):
        refuse_unmeasured(thresholds, frozenset({"scored"}))
