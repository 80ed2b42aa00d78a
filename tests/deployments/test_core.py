"""The gateway's core, without HTTP and without Kafka."""

from deployments.web.core import GatewayCore
from fleet.counters import GatewayCount
from fleet.detection.features import FeaturePlan
from fleet.events.channels import VEHICLE_DATA
from fleet.settings import Settings
from tests.small_detector import made_up_bundle


async def no_scorer(version, features):
    raise AssertionError("nothing is scored here")


def test_core_counts_all_that_the_catalogue_names():
    core = GatewayCore(Settings(), made_up_bundle(FeaturePlan.of(VEHICLE_DATA)), no_scorer, lambda: None)
    assert core.counts() == dict.fromkeys(GatewayCount, 0)
