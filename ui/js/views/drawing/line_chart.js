// @ts-check
// A small line chart over time on a canvas: lines with gaps, an optional threshold, marks where something was
// anomalous, and a crosshair under the pointer.
import { Surface } from "./surface.js";

/** @typedef {import("./palette.js").Palette} Palette */
/** @typedef {{values: (number|null)[], colour: string, fill?: boolean, dashed?: boolean}} Line */
/**
 * @typedef {object} Plot
 * @property {number[]} timesS ascending
 * @property {Line[]} lines the first one is read out and marked
 * @property {number} fromS
 * @property {number} toS
 * @property {boolean} [fromZero]
 * @property {number} [leastSpan] so that noise does not look like a mountain range
 * @property {(i: number) => boolean} [marked]
 */

const TOP = 4;
const BOTTOM = 3;

export class LineChart {
  /** @type {number|null} */ #pointerX = null;
  /** @type {Plot|null} */ #plot = null;
  #low = 0;
  #high = 1;

  /** @param {HTMLCanvasElement} canvas @param {Palette} palette @param {() => void} requestPaint */
  constructor(canvas, palette, requestPaint) {
    this.palette = palette;
    this.surface = new Surface(canvas, requestPaint);
    const point = (/** @type {number|null} */ x) => {
      this.#pointerX = x;
      requestPaint();
    };
    canvas.addEventListener("pointermove", (event) => point(event.offsetX));
    canvas.addEventListener("pointerleave", () => point(null));
  }

  /** @param {Plot} plot @returns {number|null} the index under the pointer */
  paint(plot) {
    this.#plot = plot;
    this.#range(plot);
    const context = this.surface.begin();
    if (this.surface.width === 0) return null;
    for (const line of [...plot.lines].reverse()) this.#line(context, line);
    if (plot.marked) this.#marks(context, plot, plot.marked);
    const hovered = this.#hovered(plot);
    if (hovered !== null) this.#crosshair(context, plot, hovered);
    return hovered;
  }

  /** @param {Plot} plot */
  #range(plot) {
    let low = plot.fromZero ? 0 : Infinity;
    let high = plot.fromZero ? 0 : -Infinity;
    for (const { values } of plot.lines) {
      for (const value of values) {
        if (value === null) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (low > high) [low, high] = [0, 1];
    const spare = Math.max((plot.leastSpan ?? 1e-9) - (high - low), 0);
    this.#low = plot.fromZero ? low : low - spare / 2;
    this.#high = plot.fromZero ? high + spare : high + spare / 2;
  }

  /** @param {number} timeS */
  #x(timeS) {
    const { fromS, toS } = /** @type {Plot} */ (this.#plot);
    return ((timeS - fromS) / (toS - fromS)) * this.surface.width;
  }

  /** @param {number} value */
  #y(value) {
    const height = this.surface.height - TOP - BOTTOM;
    return TOP + height * (1 - (value - this.#low) / (this.#high - this.#low));
  }

  /** @param {CanvasRenderingContext2D} context @param {Line} line */
  #line(context, line) {
    context.strokeStyle = this.palette.colour(line.colour);
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.setLineDash(line.dashed ? [3, 3] : []);
    for (const run of this.#runs(line.values)) this.#run(context, line, run);
    context.setLineDash([]);
  }

  /** @param {(number|null)[]} values @returns {number[][]} indices of what lies between gaps */
  #runs(values) {
    /** @type {number[][]} */ const runs = [];
    let run = [];
    for (let i = 0; i < values.length; i++) {
      if (values[i] !== null) run.push(i);
      else if (run.length > 0) {
        runs.push(run);
        run = [];
      }
    }
    if (run.length > 0) runs.push(run);
    return runs;
  }

  /** @param {CanvasRenderingContext2D} context @param {Line} line @param {number[]} run */
  #run(context, line, run) {
    const { timesS } = /** @type {Plot} */ (this.#plot);
    const at = (/** @type {number} */ i) => this.#y(/** @type {number} */ (line.values[i]));
    context.beginPath();
    for (const i of run) context.lineTo(this.#x(timesS[i]), at(i));
    if (run.length === 1) context.lineTo(this.#x(timesS[run[0]]) + 1, at(run[0]));
    context.stroke();
    if (!line.fill) return;
    context.lineTo(this.#x(timesS[run[run.length - 1]]), this.surface.height);
    context.lineTo(this.#x(timesS[run[0]]), this.surface.height);
    context.fillStyle = this.palette.colour(line.colour);
    context.globalAlpha = 0.1;
    context.fill();
    context.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} context @param {Plot} plot @param {(i: number) => boolean} marked */
  #marks(context, plot, marked) {
    context.fillStyle = this.palette.colour("--anomaly");
    plot.lines[0].values.forEach((value, i) => {
      if (value !== null && marked(i)) context.fillRect(this.#x(plot.timesS[i]) - 1.5, this.#y(value) - 1.5, 3, 3);
    });
  }

  /** @param {Plot} plot @returns {number|null} */
  #hovered(plot) {
    if (this.#pointerX === null || plot.timesS.length === 0) return null;
    let nearest = null;
    let least = Infinity;
    for (let i = 0; i < plot.timesS.length; i++) {
      if (plot.lines[0].values[i] === null) continue;
      const away = Math.abs(this.#x(plot.timesS[i]) - this.#pointerX);
      if (away < least) [least, nearest] = [away, i];
    }
    return nearest;
  }

  /** @param {CanvasRenderingContext2D} context @param {Plot} plot @param {number} i */
  #crosshair(context, plot, i) {
    const x = this.#x(plot.timesS[i]);
    context.fillStyle = this.palette.colour("--line-strong");
    context.fillRect(Math.round(x), 0, 1, this.surface.height);
    context.fillStyle = this.palette.colour("--ink");
    context.beginPath();
    context.arc(x, this.#y(/** @type {number} */ (plot.lines[0].values[i])), 3, 0, 2 * Math.PI);
    context.fill();
  }
}
