"""Pointer, wheel and keys on the map. The camera is real; the canvas is an event target that draws nothing."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[str], Any]

MAP = """
    const { listenToGestures } = await load("views/map/gestures");
    const { Camera } = await load("state/map/camera");
    const canvas = Object.assign(new EventTarget(), { setPointerCapture() {}, classList: { add() {}, remove() {} } });
    const camera = new Camera();
    camera.resize(800, 600);
    const done = [];
    listenToGestures(canvas, camera, {
      onMove: () => done.push("move"), onFit: () => done.push("fit"), onHover: (point) => done.push(point && "over"),
      onPick: (point, isMouse) => done.push([point.x, point.y, isMouse]),
    });
    const send = (type, fields) => {
      const event = Object.assign(new Event(type, { cancelable: true }), fields);
      canvas.dispatchEvent(event);
      return event.defaultPrevented;
    };
    const pointer = (type, offsetX, offsetY, fields = {}) =>
      send(`pointer${type}`, { offsetX, offsetY, button: 0, pointerId: 1, pointerType: "mouse", ...fields });
    const under = (x, y) => [camera.toMapX(x), camera.toMapY(y)];
    const isNear = (some, others) => some.every((map, i) => Math.abs(map - others[i]) < 1e-12);
"""


def test_a_drag_moves_the_ground_with_the_pointer_and_picks_nothing(run: Run) -> None:
    assert run(
        MAP
        + """
        const held = under(100, 100);
        pointer("down", 100, 100); pointer("move", 160, 80); pointer("up", 160, 80);
        return [isNear(under(160, 80), held), done];
        """
    ) == [True, ["move"]]


def test_a_press_that_hardly_moves_is_a_pick(run: Run) -> None:
    assert run(
        MAP
        + """
        pointer("down", 100, 100); pointer("move", 102, 101); pointer("up", 102, 101);
        pointer("down", 7, 8, { pointerType: "touch" }); pointer("up", 7, 8, { pointerType: "touch" });
        pointer("down", 1, 1); pointer("cancel", 1, 1); pointer("down", 1, 1, { button: 2 }); pointer("up", 1, 1);
        return done;
        """
    ) == [[102, 101, True], [7, 8, False]]


def test_two_fingers_zoom_as_far_as_they_part_and_pick_nothing(run: Run) -> None:
    scale, *rest = run(
        MAP
        + """
        const finger = (type, pointerId, x) => pointer(type, x, 300, { pointerId, pointerType: "touch" });
        const before = camera.scale, held = under(300, 300);
        finger("down", 1, 300); finger("down", 2, 400); finger("move", 2, 500);
        const grown = camera.scale / before;
        finger("up", 1, 300); finger("up", 2, 500);
        return [grown, isNear(under(300, 300), held), done];
        """
    )
    assert scale == pytest.approx(2)
    assert rest == [True, ["move"]]


def test_the_wheel_zooms_about_the_pointer(run: Run) -> None:
    assert run(
        MAP
        + """
        const before = camera.scale, held = under(200, 150);
        const taken = send("wheel", { deltaY: -240, deltaMode: 0, offsetX: 200, offsetY: 150 });
        return [camera.scale / before, isNear(under(200, 150), held), taken, done];
        """
    ) == [2, True, True, ["move"]]


def test_keys_move_zoom_and_fit_and_leave_the_browsers_own_alone(run: Run) -> None:
    assert run(
        MAP
        + """
        const held = under(400, 300);
        const taken = ["ArrowLeft", "+", "0", "a"].map((key) => send("keydown", { key }));
        const moved = isNear(under(400 + 80 * 1.6, 300), held);
        return [taken, send("keydown", { key: "+", ctrlKey: true }), moved, done];
        """
    ) == [[True, True, True, False], False, True, ["move", "move", "fit"]]


def test_only_a_mouse_hovers(run: Run) -> None:
    assert run(
        MAP
        + """
        pointer("move", 5, 5); pointer("move", 5, 5, { pointerType: "touch" }); pointer("leave", 0, 0);
        return done;
        """
    ) == ["over", None, None]
