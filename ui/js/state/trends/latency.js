// @ts-check
// How old events are when the page sees them: from Kafka's append time to this computer's clock. A bounded
// sample of every frame is kept, as a frame may hold thousands of events of nearly the same age.

/** @typedef {import("../records/scored_event.js").ScoredEvent} ScoredEvent */

const KEPT = 4096;
const PER_FRAME = 32;

/** @param {number[]} sorted ascending, not empty @param {number} share 0 to 1 */
const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];

export class LatencySamples {
  #atS = new Float64Array(KEPT).fill(-1);
  #ageS = new Float64Array(KEPT);
  #next = 0;

  /** @param {ScoredEvent[]} events of one frame @param {number} nowS */
  add(events, nowS) {
    const stride = Math.max(1, Math.ceil(events.length / PER_FRAME));
    for (let i = events.length - 1; i >= 0; i -= stride) {
      const { appendedAtS } = events[i];
      if (appendedAtS === null) continue;
      this.#atS[this.#next] = nowS;
      this.#ageS[this.#next] = nowS - appendedAtS;
      this.#next = (this.#next + 1) % KEPT;
    }
  }

  /**
   * @param {number} fromS inclusive @param {number} toS exclusive
   * @returns {{p50S: number, p95S: number, ahead: boolean}|null} ages, never below zero; `ahead` when this
   *   computer's clock is visibly behind the broker's, so that events seem to come from the future
   */
  quantiles(fromS, toS) {
    const ages = [];
    for (let i = 0; i < KEPT; i++) if (this.#atS[i] >= fromS && this.#atS[i] < toS) ages.push(this.#ageS[i]);
    if (ages.length === 0) return null;
    ages.sort((a, b) => a - b);
    const p50S = quantile(ages, 0.5);
    return { p50S: Math.max(0, p50S), p95S: Math.max(0, quantile(ages, 0.95)), ahead: p50S < -0.02 };
  }
}
