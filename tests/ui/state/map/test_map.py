"""Where things are, and what part of it is seen."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]


def test_extent_is_not_fooled_by_an_outlier(run: Run) -> None:
    assert run("""
        const { extentOf } = await load("state/map/extent");
        const x = Float64Array.from({length: 500}, (_, i) => (i === 7 ? 0.5 : i === 8 ? NaN : 0.32 + i * 1e-6));
        const y = Float64Array.from({length: 500}, (_, i) => (i === 7 ? 0.5 : i === 8 ? NaN : 0.59 - i * 1e-6));
        const box = extentOf(x, y, 500);
        const none = extentOf(new Float64Array(4).fill(NaN), new Float64Array(4).fill(NaN), 4);
        return [box.left, box.right < 0.3206, box.top > 0.589, box.bottom, none];
    """) == [0.32, True, True, 0.59, None]


def test_camera_zooms_about_the_pointer_and_fits_what_it_is_given(run: Run) -> None:
    assert run("""
        const { Camera } = await load("state/map/camera");
        const camera = new Camera();
        camera.resize(800, 600);
        const box = {left: 0.3, right: 0.31, top: 0.6, bottom: 0.604};
        camera.fit(box, 50);
        const fitted = [camera.shows(box), camera.toPixelX(0.3) >= 50 - 1e-6, camera.toPixelX(0.31) <= 750 + 1e-6];
        const before = [camera.toMapX(100), camera.toMapY(200)];
        camera.zoom(3, 100, 200);
        const away = [camera.toMapX(100) - before[0], camera.toMapY(200) - before[1]];
        const still = away.every((map) => Math.abs(map) < 1e-12);
        return [...fitted, still, camera.shows(box)];
    """) == [True, True, True, True, False]


def test_camera_goes_to_a_lone_vehicle_no_nearer_than_its_street_and_then_rests(run: Run) -> None:
    world, near, metres, still, gone = run("""
        const { Camera } = await load("state/map/camera");
        const { mapX, mapY, metresPerUnit } = await load("state/map/mercator");
        const camera = new Camera();
        camera.resize(800, 600);
        const at = (longitude, latitude) => {
          const [x, y] = [mapX(longitude), mapY(latitude)];
          return { left: x, right: x, top: y, bottom: y };
        };
        const here = at(-64.18, -31.41);
        const world = camera.shows(here);
        camera.fit(here, 44);
        const metres = (600 / camera.scale) * metresPerUnit(here.top);
        return [world, camera.shows(here), metres, camera.shows(at(-64.179, -31.41)), camera.shows(at(-64.1, -31.41))];
    """)
    assert (world, near, still, gone) == (False, True, True, False)
    assert 300 < metres < 3_000


def test_mercator_goes_there_and_back(run: Run) -> None:
    assert run("""
        const { mapX, mapY, latitudeAt, longitudeAt } = await load("state/map/mercator");
        return [-85, -31.41, 0, 48.5, 85].every((latitude) => Math.abs(latitudeAt(mapY(latitude)) - latitude) < 1e-9)
          && Math.abs(longitudeAt(mapX(-64.18)) + 64.18) < 1e-9 && mapX(0) === 0.5 && mapY(0) === 0.5
          && mapY(90) >= 0 && mapY(-90) <= 1;
    """)
