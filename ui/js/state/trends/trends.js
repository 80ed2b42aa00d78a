// @ts-check
// The fleet's trend lines: what arrived in each second, and figures of the last few complete seconds. Time is
// the page's clock at arrival, passed in.
import { LatencySamples } from "./latency.js";
import { SecondBuckets } from "./second_buckets.js";

/** @typedef {import("../records/scored_event.js").ScoredEvent} ScoredEvent */

const SUMS = ["events", "anomalies", "speed", "speeds", "ratio", "p50", "p95", "closed"];
const SMOOTHED_OVER_S = 3;
const SHORTEST_AXIS_S = 60;

export class Trends {
  latency = new LatencySamples();
  #buckets;
  #currentS = -1;
  /** @type {number|null} */ #firstS = null;

  /** @param {number} windowS */
  constructor(windowS) {
    this.windowS = windowS;
    this.#buckets = new SecondBuckets(windowS + 2, SUMS);
  }

  /** @param {ScoredEvent[]} events of one frame @param {number} nowS */
  add(events, nowS) {
    const second = Math.floor(nowS);
    this.#closeBefore(second);
    this.#firstS ??= second;
    const buckets = this.#buckets;
    buckets.add(second, "events", events.length);
    for (const event of events) {
      if (event.isAnomaly) buckets.add(second, "anomalies", 1);
      if (event.speedKmh !== null) {
        buckets.add(second, "speed", event.speedKmh);
        buckets.add(second, "speeds", 1);
      }
      if (event.error !== null && event.threshold) {
        buckets.max(second, "ratio", event.error / event.threshold);
      }
    }
    this.latency.add(events, nowS);
  }

  /** Writes the finished second's latency quantiles into its bucket. @param {number} second */
  #closeBefore(second) {
    if (second === this.#currentS) return;
    const quantiles = this.latency.quantiles(this.#currentS, this.#currentS + 1);
    if (quantiles) {
      this.#buckets.max(this.#currentS, "p50", quantiles.p50S);
      this.#buckets.max(this.#currentS, "p95", quantiles.p95S);
      this.#buckets.max(this.#currentS, "closed", 1);
    }
    this.#currentS = second;
  }

  /** @param {number} second @param {string} top @param {string} [bottom] */
  #ratio(second, top, bottom) {
    const over = this.#buckets.at(second, top);
    if (over === null || bottom === undefined) return over;
    const under = this.#buckets.at(second, bottom);
    return under ? over / under : null;
  }

  /** The axis grows with the page's age, from one minute to the whole window. @param {number} last */
  #length(last) {
    const ageS = this.#firstS === null ? 0 : last - this.#firstS;
    return Math.max(Math.min(SHORTEST_AXIS_S, this.windowS), Math.min(this.windowS, ageS));
  }

  /**
   * One value a second up to the last complete one; null where nothing arrived.
   * @param {number} nowS @param {string} top @param {string} [bottom] divides by this sum
   * @returns {{timesS: number[], values: (number|null)[]}}
   */
  series(nowS, top, bottom) {
    const last = Math.floor(nowS) - 1;
    const length = this.#length(last);
    const timesS = Array.from({ length }, (_, i) => last - length + 1 + i);
    const firstS = this.#firstS ?? Infinity; // the page was opened within it: it is not a whole second
    return { timesS, values: timesS.map((second) => (second > firstS ? this.#ratio(second, top, bottom) : null)) };
  }

  /** Events in each second since the page was opened: none is a figure too. @param {number} nowS */
  rates(nowS) {
    const { timesS, values } = this.series(nowS, "events");
    const firstS = this.#firstS ?? Infinity;
    return { timesS, values: values.map((events, i) => (timesS[i] > firstS ? (events ?? 0) : null)) };
  }

  /**
   * The mean over the last complete seconds, null before there is one.
   * @param {number} nowS @param {string} top @param {string} [bottom]
   */
  recent(nowS, top, bottom) {
    if (this.#firstS === null) return null;
    const last = Math.floor(nowS) - 1;
    const seconds = Math.min(SMOOTHED_OVER_S, last - this.#firstS);
    if (seconds < 1) return null;
    let over = 0;
    let under = 0;
    for (let second = last; second > last - seconds; second--) {
      over += this.#buckets.at(second, top) ?? 0;
      under += bottom === undefined ? 1 : (this.#buckets.at(second, bottom) ?? 0);
    }
    return under > 0 ? over / under : null;
  }

  /** The largest error over its threshold of the last complete seconds. @param {number} nowS */
  peakRatio(nowS) {
    const last = Math.floor(nowS) - 1;
    const peaks = [0, 1, 2].map((back) => this.#buckets.at(last - back, "ratio") ?? 0);
    return Math.max(...peaks) || null;
  }
}
