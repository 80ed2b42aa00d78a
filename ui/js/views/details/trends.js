// @ts-check
// The chosen vehicle's history as four lines over event time: speed, engine, battery, error. Squares mark
// anomalous events.
import { clockTime, count, decimal, figures, withUnit } from "../../words/format.js";
import { instance, partsOf, setAttribute, setText } from "../drawing/dom.js";
import { LineChart } from "../drawing/line_chart.js";

/** @typedef {import("../../state/records/scored_event.js").ScoredEvent} ScoredEvent */
/** @typedef {import("../drawing/palette.js").Palette} Palette */
/** @typedef {import("../drawing/line_chart.js").Line} Line */
/**
 * @typedef {object} Trend
 * @property {string} name
 * @property {(event: ScoredEvent) => number|null} value
 * @property {(event: ScoredEvent) => number|null} [bound] drawn dashed
 * @property {(value: number|null) => string} text
 * @property {number} leastSpan
 */

/** @type {Trend[]} */
const TRENDS = [
  { name: "Speed and limit", value: (event) => event.speedKmh, bound: (event) => event.speedLimitKmh, text: (v) => withUnit(v, "km/h"), leastSpan: 20 },
  { name: "Engine", value: (event) => event.temperatureC, text: (v) => withUnit(v, "°C", decimal), leastSpan: 10 },
  { name: "Battery", value: (event) => event.batteryPercent, text: (v) => withUnit(v, "%", decimal), leastSpan: 10 },
  { name: "Error and threshold", value: (event) => event.error, bound: (event) => event.threshold, text: (v) => figures(v), leastSpan: 0.001 },
];
const LEAST_TIME_S = 30;

/** @param {Trend} trend @param {(number|null)[]} values */
function description(trend, values) {
  const known = /** @type {number[]} */ (values.filter((value) => value !== null));
  if (known.length === 0) return `${trend.name}: unknown`;
  const [low, high] = [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))];
  return `${trend.name} over the last ${count(values.length)} events, between ${trend.text(low)} and ${trend.text(high)}`;
}

class TrendView {
  #row = instance("trend-row");
  #parts = partsOf(this.#row);
  #canvas = /** @type {HTMLCanvasElement} */ (this.#row.querySelector("canvas"));
  #chart;

  /** @param {HTMLElement} root @param {Trend} trend @param {Palette} palette @param {() => void} requestPaint */
  constructor(root, trend, palette, requestPaint) {
    this.trend = trend;
    setText(this.#parts.name, trend.name);
    root.append(this.#row);
    this.#chart = new LineChart(this.#canvas, palette, requestPaint);
  }

  /** @param {ScoredEvent[]} history in event time */
  paint(history) {
    const { trend } = this;
    const timesS = history.map((event) => /** @type {number} */ (event.timeS));
    /** @type {Line[]} */ const lines = [{ values: history.map(trend.value), colour: "--data" }];
    if (trend.bound) lines.push({ values: history.map(trend.bound), colour: "--ink-3", dashed: true });
    const toS = timesS.at(-1) ?? 0;
    const fromS = Math.min(timesS[0] ?? 0, toS - LEAST_TIME_S);
    const marked = (/** @type {number} */ i) => history[i].isAnomaly;
    const hovered = this.#chart.paint({ timesS, lines, fromS, toS, leastSpan: trend.leastSpan, marked });
    this.#readOut(history, lines[0].values, hovered);
    setAttribute(this.#canvas, "aria-label", description(trend, lines[0].values));
  }

  /** @param {ScoredEvent[]} history @param {(number|null)[]} values @param {number|null} hovered */
  #readOut(history, values, hovered) {
    const last = this.trend.text(values.at(-1) ?? null);
    setText(this.#parts.value, hovered === null ? last : `${this.trend.text(values[hovered])} at ${clockTime(history[hovered].timeS)}`);
  }
}

export class DetailTrends {
  #views;

  /** @param {HTMLElement} root @param {Palette} palette @param {() => void} requestPaint */
  constructor(root, palette, requestPaint) {
    this.#views = TRENDS.map((trend) => new TrendView(root, trend, palette, requestPaint));
  }

  /** @param {ScoredEvent[]} history */
  paint(history) {
    for (const view of this.#views) view.paint(history);
  }
}
