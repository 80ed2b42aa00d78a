import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.backtesting.injection import KINDS, InjectionPlan, channel_resolution, channel_spread, inject
from training.metrics import find_stretches


def _recording(seed: int, trips: int = 6, rows: int = 700):
    """Trips of wandering channels: one stepped to halves, one continuous, one partly unknown, one constant."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(trips * rows, 4)), axis=0)
    walk[:, 0] = np.round(walk[:, 0] * 2) / 2
    walk[rng.random(len(walk)) < 0.1, 2] = np.nan
    walk[:, 3] = 5.0
    order = rng.permutation(len(walk))
    return walk[order], np.repeat(np.arange(trips), rows)[order], np.tile(np.arange(rows) * 0.5, trips)[order]


def _same(a, b):
    return (a == b) | (np.isnan(a) & np.isnan(b))


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.02, 0.05]))
def test_injection_touches_labelled_rows_in_one_channel_only(seed, prevalence):
    values, vehicle, time_s = _recording(seed % 5)
    done = inject(values, vehicle, time_s, InjectionPlan(seed=seed, prevalence=prevalence))
    assert _same(done.values[~done.label], values[~done.label]).all()
    for fault in done.faults:
        rows = (vehicle == fault.vehicle) & (time_s >= fault.begins_s) & (time_s <= fault.ends_s)
        assert rows.sum() == fault.rows
        assert (done.fault[rows] == done.kinds.index(fault.kind)).all()
        others = np.arange(values.shape[1]) != fault.channel
        assert _same(done.values[rows][:, others], values[rows][:, others]).all()
        assert not _same(done.values[rows, fault.channel], values[rows, fault.channel]).all()


@given(st.integers(0, 1000))
def test_injection_labels_are_the_listed_faults_and_no_more(seed):
    values, vehicle, time_s = _recording(seed % 5)
    done = inject(values, vehicle, time_s, InjectionPlan(seed=seed))
    found = find_stretches(done.fault, vehicle, time_s)
    listed = sorted((f.vehicle, f.begins_s, f.ends_s, done.kinds.index(f.kind)) for f in done.faults)
    stretches = zip(found.vehicle, found.begins_s, found.ends_s, found.fault, strict=True)
    assert [tuple(map(float, stretch)) for stretch in stretches] == [tuple(map(float, fault)) for fault in listed]
    assert done.label.sum() == sum(fault.rows for fault in done.faults)


@given(st.integers(0, 1000))
def test_injection_leaves_the_planned_rows_ordinary(seed):
    values, vehicle, time_s = _recording(seed % 5)
    plan = InjectionPlan(seed=seed, prevalence=0.05)
    done = inject(values, vehicle, time_s, plan)
    assert not done.label[time_s < plan.ordinary_start_rows * 0.5].any()
    assert 0.04 <= done.label.mean() <= 0.05 + plan.shortest_rows / len(values)
    for one, other in zip(done.faults, done.faults[1:], strict=False):
        if one.vehicle == other.vehicle:
            gap_s = max(one.begins_s, other.begins_s) - min(one.ends_s, other.ends_s)
            assert gap_s > plan.longest_rows * 0.5


def test_injection_depends_on_its_seed_alone():
    recording = _recording(1)
    first, again = (inject(*recording, InjectionPlan(seed=3)) for _ in range(2))
    assert repr(first.faults) == repr(again.faults)
    assert _same(first.values, again.values).all()
    assert repr(inject(*recording, InjectionPlan(seed=4)).faults) != repr(first.faults)


@pytest.mark.parametrize("kind", KINDS)
def test_injection_changes_values_as_documented(kind):
    values, vehicle, time_s = _recording(2)
    done = inject(values, vehicle, time_s, InjectionPlan(prevalence=0.05, kinds=(kind,)))
    spread, step, median = channel_spread(values), channel_resolution(values), np.nanmedian(values, axis=0)
    assert len(done.faults) >= 3
    for fault in done.faults:
        rows = np.flatnonzero((vehicle == fault.vehicle) & (time_s >= fault.begins_s) & (time_s <= fault.ends_s))
        rows = rows[np.argsort(time_s[rows])]
        before, after = values[rows, fault.channel], done.values[rows, fault.channel]
        size = fault.strength * spread[fault.channel]
        expected = {
            "sensor_bias": before + size,
            "spike": before + 2 * size,
            "drift": before + size * np.arange(1, len(rows) + 1) / len(rows),
            "scaling": median[fault.channel]
            + (1 + abs(size) / spread[fault.channel]) * (before - median[fault.channel]),
            "signal_lost": np.full(len(rows), np.nan),
        }
        if kind in expected:
            np.testing.assert_allclose(after, expected[kind], atol=step[fault.channel] / 2 + 1e-9)
        elif kind == "stuck_sensor":
            previous = (vehicle == fault.vehicle) & (time_s == fault.begins_s - 0.5)
            assert (after == values[previous, fault.channel]).all()
        elif kind == "decoupled":
            assert np.isin(after[~np.isnan(after)], values[vehicle != fault.vehicle, fault.channel]).all()
        else:
            known = ~np.isnan(before)
            deviation = np.std((after - before)[known])
            assert 0.5 * abs(size) < deviation < 1.6 * abs(size) + step[fault.channel]


def test_injection_has_weak_and_strong_faults():
    values, vehicle, time_s = _recording(2, trips=20)
    plan = InjectionPlan(prevalence=0.05, kinds=("sensor_bias",))
    strengths = np.abs([fault.strength for fault in inject(values, vehicle, time_s, plan).faults])
    weak = (strengths >= plan.weak[0]) & (strengths <= plan.weak[1])
    strong = (strengths >= plan.strong[0]) & (strengths <= plan.strong[1])
    assert (weak | strong).all()
    assert weak.any()
    assert strong.any()


def test_injection_keeps_a_channels_steps():
    values, vehicle, time_s = _recording(2)
    done = inject(values, vehicle, time_s, InjectionPlan(prevalence=0.05))
    stepped = done.values[:, 0][~np.isnan(done.values[:, 0])] * 2
    np.testing.assert_allclose(stepped, np.round(stepped), atol=1e-9)


def test_injection_leaves_constant_channels_and_short_trips_alone():
    constant = np.ones((500, 2))
    done = inject(constant, np.zeros(500, np.intp), np.arange(500.0), InjectionPlan())
    assert not done.label.any()
    values, vehicle, time_s = _recording(1, trips=10, rows=50)
    assert not inject(values, vehicle, time_s, InjectionPlan()).label.any()
    nothing = inject(np.empty((0, 2)), np.empty(0, np.intp), np.empty(0), InjectionPlan())
    assert nothing.values.shape == (0, 2)


def test_injection_works_on_a_single_trip():
    values, vehicle, time_s = _recording(3, trips=1, rows=4000)
    done = inject(values, vehicle, time_s, InjectionPlan(kinds=("decoupled",)))
    assert len(done.faults) >= 1


@pytest.mark.parametrize(
    "plan", [InjectionPlan(kinds=("gremlin",)), InjectionPlan(kinds=()), InjectionPlan(shortest_rows=0)]
)
def test_injection_refuses_a_plan_it_cannot_carry_out(plan):
    with pytest.raises(ValueError, match=r"kinds|rows"):
        inject(np.ones((5, 1)), np.zeros(5, np.intp), np.arange(5.0), plan)
