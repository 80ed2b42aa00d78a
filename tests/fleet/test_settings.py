import pytest

from fleet.errors import SettingsError
from fleet.settings import PROJECT_FOLDER, AuthSettings, Settings, read_settings
from launch.serve_config import CONFIG_FILE, configured_settings


def test_read_settings_gives_defaults() -> None:
    assert read_settings({}) == Settings()


def test_serve_config_states_the_defaults() -> None:
    """What stands in the file is what the code would do anyway: the file is documentation that cannot be wrong.

    But for `allow_open`: the file is the cluster's and the containers', where something else keeps strangers out.
    """
    assert configured_settings(CONFIG_FILE) == Settings(auth=AuthSettings(allow_open=True))


def test_relative_model_folder_starts_at_the_project() -> None:
    assert Settings().model.absolute_folder == PROJECT_FOLDER / "models"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"ingest": {"linger": 5}}, "ingest.linger is no setting"),
        ({"kafka": {"partitions": 0}}, "kafka.partitions: Input should be greater than or equal to 1"),
        ({"ingest": {"delivery": "maybe"}}, "ingest.delivery"),
        ({"ingest": {"turn_records": 9000}}, r"ingest.turn_records \(9000\) must not exceed scorer.max_batch_rows"),
        ({"ingest": {"uncommitted_records": 10}}, "ingest.uncommitted_records"),
        ({"scorer": {"threads": "many"}}, "scorer.threads"),
        ({"episodes": {"alarms_to_open": 7}}, r"episodes: .*alarms_to_open \(7\) must lie in 1..window_events \(5\)"),
        ({"episodes": {"close_severity": 0.6}}, "episodes.close_severity"),
    ],
)
def test_read_settings_stops_the_start_with_a_sentence(args: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        read_settings(args)
