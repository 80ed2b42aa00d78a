"""The poison corpus: every kind breaks an event in the way that its name says."""

from random import Random

import msgspec
import pytest

from faults.cases.records import GOOD_FOR_A_POISON, POISON, SCORED, Poisoned
from faults.load import content_of
from fleet.events.telemetry import TelemetryDecoder
from fleet.settings import IngestSettings

GOOD = msgspec.json.encode(
    {
        "vehicleId": "V1",
        "timestamp": 1764533865.5,
        "latitude": -31.4,
        "longitude": -64.2,
        "speed": 30.5,
        "temperature": 88.0,
        "anomaly": False,
        "anomalyType": None,
        "sequence": 7,
    }
)


@pytest.mark.parametrize("name", POISON)
def test_a_poison_becomes_what_the_corpus_says(name: str) -> None:
    poison, wanted = POISON[name]
    value = poison(GOOD)
    block, rejects = TelemetryDecoder().decode_block([value], IngestSettings().max_event_bytes)
    assert ([reject.reason for reject in rejects] or [SCORED] * len(block)) == [wanted]
    if wanted == SCORED:
        assert content_of(value) == 7


def test_poison_is_mixed_one_to_ten_and_remembered_by_content() -> None:
    content = Poisoned(Random(1))
    values = content.mix([GOOD] * 110)
    broken = [value for value in values if value != GOOD]
    assert len(broken) == 110 // (GOOD_FOR_A_POISON + 1) == content.of_a_kind.total()
    assert {content_of(value) for value in broken} == content.sent.keys()
