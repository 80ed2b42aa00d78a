// @ts-check
// The streets, drawn from where traffic has been. They are drawn once into a picture of their own; while the map
// moves that picture is moved along, and it is drawn anew when the map has come to rest.

/** @typedef {import("../../state/map/camera.js").Camera} Camera */
/** @typedef {import("../../state/map/traces.js").Traces} Traces */

const REST_MS = 120;
const REFRESH_MS = 1000;
const CELL = 1 / 2 ** 21;
const ROUND_FROM = 4; // pixels: squares of this size would look like stairs

export class MapStreets {
  #picture = document.createElement("canvas");
  #drawn = { x: 0, y: 0, scale: 0, width: 0, height: 0, version: -1, colour: "", ms: 0 };
  #seen = { x: 0, y: 0, scale: 0, ms: 0 };

  /** @param {Traces} traces */
  constructor(traces) {
    this.traces = traces;
  }

  /** @param {CanvasRenderingContext2D} context @param {Camera} camera @param {string} colour @param {number} nowMs */
  paint(context, camera, colour, nowMs) {
    if (this.#isDue(camera, colour, nowMs)) this.#draw(camera, colour, nowMs);
    const { x, y, scale, width, height } = this.#drawn;
    if (scale === 0) return;
    const zoom = camera.scale / scale;
    const left = camera.toPixelX(x) - (width / 2) * zoom;
    const top = camera.toPixelY(y) - (height / 2) * zoom;
    context.drawImage(this.#picture, left, top, width * zoom, height * zoom);
  }

  /** @param {Camera} camera @param {string} colour @param {number} nowMs */
  #isDue(camera, colour, nowMs) {
    const { x, y, scale, width, height } = camera;
    const seen = this.#seen;
    if (seen.x !== x || seen.y !== y || seen.scale !== scale) this.#seen = { x, y, scale, ms: nowMs };
    const drawn = this.#drawn;
    if (drawn.scale === 0 || drawn.colour !== colour || drawn.width !== width || drawn.height !== height) return true;
    const moved = drawn.x !== x || drawn.y !== y || drawn.scale !== scale;
    if (moved) return nowMs - this.#seen.ms >= REST_MS;
    return drawn.version !== this.traces.version && nowMs - drawn.ms >= REFRESH_MS;
  }

  /** @param {Camera} camera @param {string} colour @param {number} nowMs */
  #draw(camera, colour, nowMs) {
    const { x, y, scale, width, height } = camera;
    this.#drawn = { x, y, scale, width, height, version: this.traces.version, colour, ms: nowMs };
    const ratio = Math.min(2, devicePixelRatio || 1);
    this.#picture.width = Math.round(width * ratio);
    this.#picture.height = Math.round(height * ratio);
    const context = /** @type {CanvasRenderingContext2D} */ (this.#picture.getContext("2d"));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colour;
    const size = Math.min(18, Math.max(1.5, CELL * scale * 1.3));
    this.traces.forEach((cellX, cellY) => {
      const left = camera.toPixelX(cellX);
      const top = camera.toPixelY(cellY);
      if (left < -size || top < -size || left > width + size || top > height + size) return;
      this.#cell(context, left, top, size);
    });
  }

  /** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} size */
  #cell(context, x, y, size) {
    if (size < ROUND_FROM) return context.fillRect(x - size / 2, y - size / 2, size, size);
    context.beginPath();
    context.arc(x, y, size * 0.72, 0, 2 * Math.PI);
    context.fill();
  }
}
