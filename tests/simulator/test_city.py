"""Generated cities: their roads, hills, climates and hours."""

import numpy as np
import pytest

from simulator.city import HIGHWAY, LONGEST_CLEAR_RUN_M, RURAL, STEEPEST_GRADE, STYLES, URBAN, WEATHERS, City

MIDNIGHT_S, NOON_S = 1_764_558_000.0, 1_764_601_200.0
CITIES = [City.generate(seed=seed) for seed in range(len(STYLES))]
city_of_every_style = pytest.mark.parametrize("city", CITIES, ids=["plain", "old town", "sprawl", "valley"])


@city_of_every_style
def test_roads_lead_on_from_where_they_end(city):
    ends = city.start_m + city.direction * city.length_m[:, None]
    for slot in range(city.successors.shape[1]):
        np.testing.assert_allclose(city.start_m[city.successors[:, slot]], ends, atol=1e-6)


@city_of_every_style
def test_roads_reach_every_road_from_every_road(city):
    reached = np.zeros(len(city.length_m), bool)
    reached[0] = True
    while True:
        grown = reached.copy()
        grown[city.successors[reached].ravel()] = True
        if (grown == reached).all():
            break
        reached = grown
    assert reached.mean() > 0.995


@city_of_every_style
def test_roads_rise_one_way_as_they_fall_the_other(city):
    np.testing.assert_allclose(city.grade[0::2], -city.grade[1::2])
    assert 0 < np.abs(city.grade).max() <= STEEPEST_GRADE


@city_of_every_style
def test_clear_runs_lead_straight_on_under_one_limit(city):
    assert (city.clear_run_m >= city.length_m - 1e-9).all()
    assert city.clear_run_m.max() <= LONGEST_CLEAR_RUN_M
    onward = city.successors[:, 0]
    goes_on = city.clear_run_m > city.length_m + 1e-9
    assert 0.3 < goes_on.mean() < 1.0
    np.testing.assert_array_equal(city.limit_kmh[onward[goes_on]], city.limit_kmh[goes_on])
    assert (city.turn_kmh[goes_on, 0] > city.limit_kmh[goes_on]).all()


def test_cities_differ_in_more_than_coordinates():
    for measure in (
        lambda city: city.limit_kmh.max(),
        lambda city: city.length_m[city.road_type == RURAL].sum() / city.length_m.sum(),
        lambda city: city.length_m[city.road_type == HIGHWAY].sum() / city.length_m.sum(),
        lambda city: np.median(city.length_m[city.road_type == URBAN]),
        lambda city: np.abs(city.grade).mean(),
        lambda city: city.ambient_c(NOON_S),
        lambda city: city.style.rush,
    ):
        assert len({round(float(measure(city)), 3) for city in CITIES}) == len(CITIES)


def test_cities_of_one_style_differ_and_are_repeatable():
    a, b, again = (City.generate(seed=seed) for seed in (1, 5, 1))
    assert a.style.streets == b.style.streets
    assert a.style.ambient_c != b.style.ambient_c
    assert not np.array_equal(a.length_m, b.length_m)
    np.testing.assert_array_equal(a.start_m, again.start_m)


def test_city_takes_a_style_by_name():
    assert City.generate(seed=0, style=STYLES[2]).style is STYLES[2]


def test_city_is_coldest_before_dawn_and_warmest_in_the_afternoon():
    city = CITIES[0]
    by_hour = [city.ambient_c(MIDNIGHT_S + 3600 * hour) for hour in range(24)]
    assert np.argmax(by_hour) == 15
    assert np.argmin(by_hour) == 3


def test_city_weather_holds_for_half_an_hour_and_every_kind_occurs():
    city = CITIES[1]
    kinds = [city.weather(MIDNIGHT_S + 1800 * k) for k in range(300)]
    assert set(kinds) == set(range(len(WEATHERS)))
    assert all(city.weather(MIDNIGHT_S + 1800 * k + 1799) == kind for k, kind in enumerate(kinds))


def test_city_is_dark_at_midnight_and_light_at_noon():
    assert CITIES[0].is_night(MIDNIGHT_S)
    assert not CITIES[0].is_night(NOON_S)
