// @ts-check
// What each figure at the top says: its number, what belongs to it, and its line over the last minutes. Pure.
import { count, decimal, duration, percent } from "../../words/format.js";
import { times } from "../../words/phrases.js";

/** @typedef {import("../../state/fleet.js").FleetState} FleetState */
/** @typedef {{timesS: number[], values: (number|null)[]}} Series */
/**
 * @typedef {object} Figure
 * @property {(state: FleetState, nowS: number) => string} value
 * @property {(state: FleetState, nowS: number) => string} note
 * @property {(state: FleetState, nowS: number) => {series: Series, colour: string, fill?: boolean, dashed?: boolean}[]} lines
 * @property {(value: number) => string} readOut
 * @property {number} leastSpan
 * @property {boolean} [floating] the axis need not begin at zero
 * @property {(state: FleetState, nowS: number) => boolean} [isAnomalous]
 */

const LATENCY_OVER_S = 5;
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
export const FIGURES = {
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
    value: (state, nowS) => (state.vehicles.size === 0 ? "–" : count(state.vehicles.countAnomalous(nowS))),
    note: anomalyNote,
    lines: (state, nowS) => [{ series: state.trends.series(nowS, "anomalies", "events"), colour: "--anomaly", fill: true }],
    readOut: (share) => `${percent(share)} of events`,
    leastSpan: 0.02,
    isAnomalous: (state, nowS) => state.vehicles.countAnomalous(nowS) > 0,
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
