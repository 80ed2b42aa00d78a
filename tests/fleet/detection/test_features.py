"""How a specification becomes features, groups and causes; what windows make of them: `past`."""

import numpy as np
import pytest

from fleet.detection.features import KINDS, FeaturePlan
from fleet.events.channels import Channel, ChannelSpec, own_specs, read_spec

SPEC = ChannelSpec(
    "trucks",
    (
        Channel("speed", unit="km/h", group="motion", cause="overspeed", features=("level", "frozen"), resolution=2.0),
        Channel("oil", cause="oil_low", causes={"slow": "oil_leak"}, features=("level", "slow", "lost")),
        Channel("gear", role="context", codes={"low": 0, "high": 1}),
        Channel("load", unit="t", role="context"),
        Channel("jerk", formula="rate", of=("speed",), group="motion", features=("level",)),
        Channel("spare", features=()),
    ),
)
PLAN = FeaturePlan.of(SPEC)


def test_a_plan_lists_what_is_judged_first_and_then_what_is_told():
    assert PLAN.names == (
        "speed_level", "speed_frozen", "oil_level", "oil_slow", "oil_lost", "jerk_level",
        "interval", "interval_mean", "ahead", "behind",
        "gear_low", "gear_high", "load", "log_interval", "history",
    )  # fmt: skip
    assert PLAN.groups == ("motion", "oil", "timing")
    assert PLAN.group_of.tolist() == [0, 0, 1, 1, 1, 0, 2, 2, 2, 2, -1, -1, -1, -1, -1]


def test_a_plan_gives_each_judged_feature_its_cause():
    causes = {f.name: f.cause for f in PLAN.features if f.cause}
    assert causes == {
        "speed_level": "overspeed",
        "speed_frozen": "stuck_sensor",
        "oil_level": "oil_low",
        "oil_slow": "oil_leak",
        "oil_lost": "drop_out",
        "jerk_level": "jerk",
        "interval": "message_loss",
        "interval_mean": "message_loss",
        "ahead": "clock_skew",
        "behind": "clock_skew",
    }
    judged = [f for f in PLAN.features if f.cause]
    for feature, aspect in zip(judged, PLAN.aspect_of, strict=True):
        assert (PLAN.aspects[aspect].group, PLAN.aspects[aspect].cause) == (feature.group, feature.cause)
    assert PLAN.aspect_sizes.sum() == len(judged)
    assert [PLAN.groups[group] for group in PLAN.aspect_group] == [aspect.group for aspect in PLAN.aspects]


def test_what_can_only_be_too_much_is_one_sided():
    side = dict(zip(PLAN.names, PLAN.sides.tolist(), strict=True))
    assert {side[name] for name in ("speed_frozen", "oil_lost", "interval", "ahead", "behind")} == {1}
    assert {side[name] for name in ("speed_level", "oil_level", "oil_slow", "jerk_level", "load")} == {0}


@pytest.mark.parametrize(("finding", "side"), [("low", -1), ("high", 1), ("both", 0)])
def test_a_channel_says_which_way_it_must_be_unusual(finding, side):
    channel = Channel("oil", finding=finding, features=("level", "slow", "rough", "lost"))
    plan = FeaturePlan.of(ChannelSpec("one", (channel,), timing=False))
    sides = dict(zip(plan.names, plan.sides.tolist(), strict=True))
    assert (sides["oil_level"], sides["oil_slow"], sides["oil_rough"], sides["oil_lost"]) == (side, side, 0, 1)


def test_a_level_that_is_told_is_seen_by_the_other_groups_and_judged_by_none():
    channels = (Channel("speed", group="motion", features=("told", "frozen")), Channel("oil", features=("level",)))
    plan = FeaturePlan.of(ChannelSpec("two", channels, timing=False))
    told = plan.features[plan.names.index("speed_level")]
    assert (told.kind, told.group, told.cause) == ("level", "motion", "")
    assert plan.names.index("speed_level") >= len(plan.aspect_of)


def test_a_specification_without_timing_says_nothing_about_clocks():
    recording = FeaturePlan.of(ChannelSpec("r", SPEC.channels, timing=False))
    assert "timing" not in recording.groups
    assert set(PLAN.names) - set(recording.names) == {"interval", "interval_mean", "ahead", "behind"}


def test_the_smallest_difference_is_the_channels_resolution():
    smallest = dict(zip(PLAN.names, PLAN.smallest.tolist(), strict=True))
    assert smallest["speed_level"] == 2.0
    assert smallest["oil_level"] == 0.0
    assert smallest["speed_frozen"] > 0


@pytest.mark.parametrize("name", own_specs())
def test_the_projects_own_plans_are_whole(name):
    plan = FeaturePlan.of(read_spec(name))
    assert len(set(plan.names)) == len(plan.names)
    assert {f.kind for f in plan.features} <= set(KINDS)
    assert all(f.group for f in plan.features if f.cause)
    assert all(f.cause for f in plan.features[: len(plan.aspect_of)]), "the judged ones come first"
    assert not any(f.cause for f in plan.features[len(plan.aspect_of) :])
    assert len(plan.groups) > 1, "a group is reconstructed from the others"
    assert np.isfinite(plan.smallest).all()


def test_raw_coordinates_and_the_senders_claims_are_no_features():
    names = FeaturePlan.of(read_spec("vehicle_data")).names
    assert not {"latitude_level", "longitude_level"} & set(names)
    assert not any(name.startswith(("previousSpeed", "acceleration")) for name in names)
