"""The short version of the fault suite: what must hold on every machine; seconds are for `make faults`."""

import secrets
from pathlib import Path

import pytest

from faults.cases import SHORT
from faults.report import table
from faults.suite import run_cases

pytestmark = pytest.mark.whole_system

RATE = 2_000.0


def test_nothing_is_lost_doubled_or_reordered_by_the_short_suite(models_folder: Path) -> None:
    """Kills of ingest, scorers and Kafka, and poison. A seed that failed is in the message: `fleet faults --seed`."""
    results = list(run_cases(SHORT, secrets.randbelow(1_000_000), RATE, print, models_folder, brief=True))
    assert [result.number for result in results] == list(SHORT)
    assert not [result for result in results if result.failures], "\n".join(["", *table(results)])
