// @ts-check
// Pointer, wheel and keys on the map, turned into moves of the camera. A press that does not move is a pick.

/** @typedef {import("../../state/map/camera.js").Camera} Camera */
/** @typedef {{x: number, y: number}} Point */

const CLICK_WITHIN = 5; // pixels
const KEY_PAN = 80;
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * @typedef {object} Act
 * @property {() => void} onMove the camera was moved by hand
 * @property {() => void} onFit
 * @property {(point: Point, isMouse: boolean) => void} onPick
 * @property {(point: Point|null) => void} onHover
 */
/** @typedef {(factor: number, point: Point) => void} Zoom */

/** @param {MouseEvent} event @returns {Point} */
const at = (event) => ({ x: event.offsetX, y: event.offsetY });

/** @param {HTMLCanvasElement} canvas @param {Camera} camera @param {Act} act */
export function listenToGestures(canvas, camera, act) {
  /** @type {Zoom} */
  const zoom = (factor, point) => {
    camera.zoom(factor, point.x, point.y);
    act.onMove();
  };
  listenToPointers(canvas, camera, act, zoom);
  listenToWheel(canvas, zoom);
  listenToKeys(canvas, camera, act, zoom);
}

/** @param {HTMLCanvasElement} canvas @param {Camera} camera @param {Act} act @param {Zoom} zoom */
function listenToPointers(canvas, camera, { onMove, onPick, onHover }, zoom) {
  /** @type {Map<number, Point>} */ const pressed = new Map();
  let travelled = 0;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, at(event));
    travelled = pressed.size > 1 ? Infinity : 0;
    canvas.classList.add("moving");
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = pressed.get(event.pointerId);
    const now = at(event);
    if (!before) return onHover(event.pointerType === "mouse" ? now : null);
    pressed.set(event.pointerId, now);
    travelled += Math.hypot(now.x - before.x, now.y - before.y);
    const other = [...pressed].find(([id]) => id !== event.pointerId)?.[1];
    if (other) pinch(camera, before, now, other, zoom);
    else if (travelled > CLICK_WITHIN) {
      camera.pan(now.x - before.x, now.y - before.y);
      onMove();
    }
  });

  const release = (/** @type {PointerEvent} */ event) => {
    if (!pressed.delete(event.pointerId)) return;
    if (pressed.size === 0) canvas.classList.remove("moving");
    if (event.type === "pointerup" && travelled <= CLICK_WITHIN) onPick(at(event), event.pointerType === "mouse");
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => onHover(null));
}

/** @param {Camera} camera @param {Point} before @param {Point} now of one finger @param {Point} other @param {Zoom} zoom */
function pinch(camera, before, now, other, zoom) {
  const span = (/** @type {Point} */ point) => Math.max(8, Math.hypot(point.x - other.x, point.y - other.y));
  camera.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
  zoom(span(now) / span(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
}

/** @param {HTMLCanvasElement} canvas @param {Zoom} zoom */
function listenToWheel(canvas, zoom) {
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      zoom(2 ** (-Math.max(-240, Math.min(240, event.deltaY * lines)) / 240), at(event));
    },
    { passive: false },
  );
  canvas.addEventListener("dblclick", (event) => zoom(2, at(event)));
}

/** @param {HTMLCanvasElement} canvas @param {Camera} camera @param {Act} act @param {Zoom} zoom */
function listenToKeys(canvas, camera, { onMove, onFit }, zoom) {
  canvas.addEventListener("keydown", (event) => {
    const middle = { x: camera.width / 2, y: camera.height / 2 };
    const arrow = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrow) {
      camera.pan(arrow[0] * KEY_PAN, arrow[1] * KEY_PAN);
      onMove();
    } else if (event.key === "+" || event.key === "=") zoom(1.6, middle);
    else if (event.key === "-") zoom(1 / 1.6, middle);
    else if (event.key === "0") onFit();
    else return;
    event.preventDefault();
  });
}
