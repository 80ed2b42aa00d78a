// @ts-check
// The vehicles on the map. Anomalous ones differ in colour, in size and by a halo; silent ones are pale. Ten
// thousands of squares are cheaper than as many circles, and at that number nobody sees the difference.
import { SILENT_AFTER_S } from "../../state/vehicles.js";

/** @typedef {import("../../state/map/camera.js").Camera} Camera */
/** @typedef {import("../../state/vehicles.js").Vehicles} Vehicles */
/** @typedef {import("../drawing/palette.js").Palette} Palette */

const ROUND_UP_TO = 6000;
const FULL_TURN = 2 * Math.PI;

/** @param {number} count dots on the whole map @param {number} scale */
function radius(count, scale) {
  const crowded = count > 10_000 ? 1.1 : count > 3000 ? 1.5 : 2;
  return crowded * Math.max(1, Math.min(2.2, Math.log2(scale / 2 ** 21) * 0.35 + 1));
}

export class MapDots {
  #sprite = document.createElement("canvas");
  #spriteFor = "";
  /** Known positions that the view does not show. */
  outside = 0;

  /** @param {Vehicles} vehicles @param {Palette} palette */
  constructor(vehicles, palette) {
    this.vehicles = vehicles;
    this.palette = palette;
  }

  /** @param {CanvasRenderingContext2D} context @param {Camera} camera @param {number} nowS @param {number} ratio */
  paint(context, camera, nowS, ratio) {
    const { vehicles } = this;
    const size = radius(vehicles.size, camera.scale);
    const stamp = vehicles.size <= ROUND_UP_TO ? this.#round(size, ratio) : null;
    const anomalous = [];
    const normal = this.palette.colour("--map-normal");
    const pale = this.palette.colour("--map-silent");
    this.outside = 0;
    for (let row = 0; row < vehicles.end; row++) {
      const x = camera.toPixelX(vehicles.x[row]);
      const y = camera.toPixelY(vehicles.y[row]);
      if (!(x > -20 && y > -20 && x < camera.width + 20 && y < camera.height + 20)) {
        if (x === x) this.outside += 1; // not NaN
        continue;
      }
      const silent = nowS - vehicles.seenS[row] > SILENT_AFTER_S;
      if (vehicles.anomalous[row] && !silent) anomalous.push(row);
      else if (stamp && !silent) this.#stamp(context, x, y, size, stamp);
      else this.#square(context, x, y, size * 0.85, silent ? pale : normal);
    }
    for (const row of anomalous) this.#halo(context, camera, row, size);
    for (const row of anomalous) this.#core(context, camera, row, size);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} size @param {HTMLCanvasElement} stamp */
  #stamp(context, x, y, size, stamp) {
    const half = size + 1;
    context.drawImage(stamp, x - half, y - half, 2 * half, 2 * half);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} half @param {string} colour */
  #square(context, x, y, half, colour) {
    context.fillStyle = colour;
    context.fillRect(x - half, y - half, 2 * half, 2 * half);
  }

  /** @param {number} size @param {number} ratio @returns {HTMLCanvasElement} a circle, drawn once */
  #round(size, ratio) {
    const colour = this.palette.colour("--map-normal");
    const wanted = `${size} ${ratio} ${colour}`;
    if (this.#spriteFor === wanted) return this.#sprite;
    this.#spriteFor = wanted;
    const half = size + 1;
    this.#sprite.width = this.#sprite.height = Math.ceil(2 * half * ratio);
    const context = /** @type {CanvasRenderingContext2D} */ (this.#sprite.getContext("2d"));
    context.scale(this.#sprite.width / (2 * half), this.#sprite.width / (2 * half));
    context.fillStyle = colour;
    context.globalAlpha = 0.85;
    context.beginPath();
    context.arc(half, half, size, 0, FULL_TURN);
    context.fill();
    return this.#sprite;
  }

  /** @param {CanvasRenderingContext2D} context @param {Camera} camera @param {number} row @param {number} size */
  #halo(context, camera, row, size) {
    const reach = size * 2.4 + 4 + 7 * this.vehicles.severity[row];
    context.fillStyle = this.palette.colour("--anomaly");
    context.globalAlpha = 0.2;
    this.#circle(context, camera, row, reach);
    context.fill();
    context.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} context @param {Camera} camera @param {number} row @param {number} size */
  #core(context, camera, row, size) {
    this.#circle(context, camera, row, size * 1.3 + 1.6);
    context.fillStyle = this.palette.colour("--anomaly");
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = this.palette.colour("--map-ground");
    context.stroke();
  }

  /** @param {CanvasRenderingContext2D} context @param {Camera} camera @param {number} row @param {number} reach */
  #circle(context, camera, row, reach) {
    context.beginPath();
    context.arc(camera.toPixelX(this.vehicles.x[row]), camera.toPixelY(this.vehicles.y[row]), reach, 0, FULL_TURN);
  }
}
