// @ts-check
// The figures at the top: one number each, what belongs to it, and its line over the last minutes.
import { ago, count, decimal, duration, percent } from "../../words/format.js";
import { times } from "../../words/phrases.js";
import { byId, partsOf, setAttribute, setText } from "../drawing/dom.js";
import { LineChart } from "../drawing/line_chart.js";

/** @typedef {import("../../state/fleet.js").FleetState} FleetState */
/** @typedef {import("../drawing/palette.js").Palette} Palette */
/** @typedef {{timesS: number[], values: (number|null)[]}} Series */
/**
 * @typedef {object} Figure
 * @property {(state: FleetState, nowS: number) => string} value
 * @property {(state: FleetState, nowS: number) => string} note
 * @property {(state: FleetState, nowS: number) => {series: Series, colour: string, fill?: boolean, dashed?: boolean}[]} lines
 * @property {(value: number) => string} readOut
 * @property {number} leastSpan
 * @property {boolean} [floating] the axis need not begin at zero
 * @property {(state: FleetState, nowS: number) => boolean} [alarm]
 */

const LATENCY_OVER_S = 5;
const SEEN_WITHIN_S = 30;
const CLOCKS_DIFFER_BY_S = 2;

/** @param {FleetState} state @param {number} nowS */
const latency = (state, nowS) => state.trends.latency.quantiles(nowS - LATENCY_OVER_S, Infinity);

/** @param {FleetState} state @param {number} nowS */
function latencyNote(state, nowS) {
  const now = latency(state, nowS);
  const skewS = Math.abs(state.clockSkewS);
  if (skewS > CLOCKS_DIFFER_BY_S) return `Clocks differ by ${duration(skewS)}; see the pipeline's`;
  if (now?.ahead) return "This computer's clock is behind";
  return now ? `Median · p95 ${duration(now.p95S)}` : "From Kafka to this page";
}

/** @param {FleetState} state */
const trusted = (state) => Math.abs(state.clockSkewS) <= CLOCKS_DIFFER_BY_S;

/** @param {FleetState} state @param {number} nowS */
function anomalyNote(state, nowS) {
  if (state.vehicles.size === 0) return "";
  const share = state.trends.recent(nowS, "anomalies", "events");
  return share === null ? `of ${count(state.vehicles.size)}` : `of ${count(state.vehicles.size)} · ${percent(share)} of events`;
}

/** @type {Record<string, Figure>} */
const FIGURES = {
  rate: {
    value: (state, nowS) => count(state.trends.recent(nowS, "events")),
    note: (state) => (state.received > 0 ? `${count(state.received)} since opened` : "None yet"),
    lines: (state, nowS) => [{ series: state.trends.rates(nowS), colour: "--data", fill: true }],
    readOut: count,
    leastSpan: 5,
  },
  latency: {
    value: (state, nowS) => (trusted(state) ? duration(latency(state, nowS)?.p50S ?? null) : "–"),
    note: latencyNote,
    lines: (state, nowS) => [
      { series: state.trends.series(nowS, "p50", "closed"), colour: "--data" },
      { series: state.trends.series(nowS, "p95", "closed"), colour: "--data-2" },
    ],
    readOut: duration,
    leastSpan: 0.05,
  },
  anomalies: {
    value: (state, nowS) => (state.vehicles.size === 0 ? "–" : count(state.vehicles.countAnomalous(nowS - SEEN_WITHIN_S))),
    note: anomalyNote,
    lines: (state, nowS) => [{ series: state.trends.series(nowS, "anomalies", "events"), colour: "--anomaly", fill: true }],
    readOut: (share) => `${percent(share)} of events`,
    leastSpan: 0.02,
    alarm: (state, nowS) => state.vehicles.countAnomalous(nowS - SEEN_WITHIN_S) > 0,
  },
  error: {
    value: (state, nowS) => (state.trends.peakRatio(nowS) === null ? "–" : times(state.trends.peakRatio(nowS))),
    note: (state) => (state.received > 0 ? "the threshold, at the moment" : ""),
    lines: (state, nowS) => {
      const series = state.trends.series(nowS, "ratio");
      const drawn = series.values.some((value) => value !== null);
      const threshold = { timesS: series.timesS, values: series.timesS.map(() => (drawn ? 1 : null)) };
      return [{ series, colour: "--data" }, { series: threshold, colour: "--anomaly", dashed: true }];
    },
    readOut: (ratio) => `${times(ratio)} threshold`,
    leastSpan: 1.5,
  },
  speed: {
    value: (state, nowS) => {
      const speed = state.trends.recent(nowS, "speed", "speeds");
      return speed === null ? "–" : `${decimal(speed)} km/h`;
    },
    note: (state) => (state.vehicles.size > 0 ? `${count(state.vehicles.size)} vehicles` : ""),
    lines: (state, nowS) => [{ series: state.trends.series(nowS, "speed", "speeds"), colour: "--data" }],
    readOut: (speed) => `${decimal(speed)} km/h`,
    leastSpan: 12,
    floating: true,
  },
};

class FigureView {
  #parts;
  #chart;

  /** @param {HTMLElement} root @param {Figure} figure @param {Palette} palette @param {() => void} requestPaint */
  constructor(root, figure, palette, requestPaint) {
    this.root = root;
    this.figure = figure;
    this.#parts = partsOf(root);
    this.#chart = new LineChart(/** @type {HTMLCanvasElement} */ (root.querySelector("canvas")), palette, requestPaint);
  }

  /** @param {FleetState} state @param {number} nowS */
  paint(state, nowS) {
    const { figure } = this;
    const lines = figure.lines(state, nowS);
    const { timesS, values } = lines[0].series;
    const plotted = lines.map(({ series, ...look }) => ({ values: series.values, ...look }));
    const fromS = timesS[0];
    const toS = timesS[timesS.length - 1];
    const hovered = this.#chart.paint({ timesS, lines: plotted, fromS, toS, fromZero: !figure.floating, leastSpan: figure.leastSpan });
    setText(this.#parts.value, figure.value(state, nowS));
    const at = hovered === null ? null : values[hovered];
    const then = hovered === null || at === null ? "" : `${figure.readOut(at)} · ${ago(nowS - timesS[hovered])}`;
    setText(this.#parts.note, then || figure.note(state, nowS));
    setAttribute(this.root, "data-alarm", figure.alarm?.(state, nowS) ? "" : null);
  }
}

export class FiguresView {
  /** @type {FigureView[]} */ #views = [];

  /** @param {FleetState} state @param {Palette} palette @param {() => void} requestPaint */
  constructor(state, palette, requestPaint) {
    this.state = state;
    for (const root of /** @type {NodeListOf<HTMLElement>} */ (byId("figures").querySelectorAll("[data-figure]"))) {
      const figure = FIGURES[/** @type {string} */ (root.dataset.figure)];
      this.#views.push(new FigureView(root, figure, palette, requestPaint));
    }
  }

  /** @param {number} nowS */
  paint(nowS) {
    for (const view of this.#views) view.paint(this.state, nowS);
  }
}
