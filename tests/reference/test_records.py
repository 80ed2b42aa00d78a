"""The pages of topics, REST and the live feed name everything that is on the wire."""

from typing import get_args

import msgspec
import pytest

from deployments.web.answers import ANSWERS
from fleet.events.channels import VEHICLE_DATA
from fleet.events.fields import VERDICT_FIELDS
from fleet.events.telemetry import Reason
from fleet.records.dead_letter import REASONS
from fleet.records.episode import Episode
from fleet.settings import Settings
from reference.records import rest_page, topics_page, websocket_page


@pytest.fixture(scope="module")
def topics() -> str:
    return topics_page()


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_topic_has_a_section(topics: str) -> None:
    for name in Settings().kafka.topics.model_dump().values():
        assert "| `" in section(topics, name)


def test_every_field_of_a_scored_record_has_a_row(topics: str) -> None:
    scored = section(topics, "vehicle-telemetry-scored")
    for name in {"vehicleId", "timestamp", *VEHICLE_DATA.field_names, *VERDICT_FIELDS}:
        assert f"\n| `{name}` |" in scored


def test_every_field_of_an_episode_has_a_row_with_a_meaning(topics: str) -> None:
    rows = section(topics, "vehicle-anomaly-episodes").splitlines()
    for field in msgspec.structs.fields(Episode):
        [row] = [row for row in rows if row.startswith(f"| `{field.encode_name}` |")]
        assert all(cell.strip() for cell in row.strip("|").split("|"))


def test_every_reason_of_a_dead_letter_has_a_row(topics: str) -> None:
    assert set(REASONS) == set(get_args(Reason))
    for reason in REASONS:
        assert f"\n| `{reason}` |" in section(topics, "vehicle-telemetry-dlq")


def test_every_answer_has_a_table() -> None:
    page = rest_page()
    for answer in ANSWERS:
        assert f"\n### {answer.__name__}\n" in page
        assert f"](#{answer.__name__.lower()})" in page


def test_live_feed_lists_its_query() -> None:
    page = websocket_page()
    for name in ("vehicleId", "anomalies", "batch"):
        assert f"\n| `{name}` |" in page
