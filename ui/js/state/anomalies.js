// @ts-check
// Anomalous events drawn together into stretches, one per vehicle and cause: thirty seconds of overspeed are
// one row that counts, not thirty rows. A silence of two minutes begins a new stretch.

/** @typedef {import("./reading.js").Reading} Reading */
/**
 * @typedef {object} Stretch
 * @property {string} key
 * @property {string} vehicleId
 * @property {string|null} cause
 * @property {number} startedS page clock at its first event
 * @property {number} lastS page clock at its latest event
 * @property {number} count anomalous events
 * @property {Reading} worst the event of the highest severity
 * @property {Reading} latest
 */

export const ONGOING_FOR_S = 10;
const NEW_STRETCH_AFTER_S = 120;

/** @param {Reading} reading */
const height = (reading) => (reading.severity ?? 0) + Math.min(1, (reading.error ?? 0) / 1e9);

export class Anomalies {
  /** @type {Map<string, Stretch>} */ #stretches = new Map();
  total = 0;
  forgotten = 0;

  /** @param {number} capacity */
  constructor(capacity) {
    this.capacity = capacity;
  }

  get size() {
    return this.#stretches.size;
  }

  /** @param {Reading} reading an anomalous one @param {number} nowS */
  add(reading, nowS) {
    this.total += 1;
    const key = `${reading.vehicleId}\n${reading.cause ?? ""}`;
    const known = this.#stretches.get(key);
    if (known && nowS - known.lastS <= NEW_STRETCH_AFTER_S) this.#extend(known, reading, nowS);
    else this.#begin(key, reading, nowS);
  }

  /** @param {Stretch} stretch @param {Reading} reading @param {number} nowS */
  #extend(stretch, reading, nowS) {
    stretch.count += 1;
    stretch.lastS = nowS;
    stretch.latest = reading;
    if (height(reading) >= height(stretch.worst)) stretch.worst = reading;
  }

  /** @param {string} key @param {Reading} reading @param {number} nowS */
  #begin(key, reading, nowS) {
    const { vehicleId, cause } = reading;
    if (!this.#stretches.has(key) && this.size >= this.capacity) this.#forgetQuietest();
    const stretch = { key, vehicleId, cause, startedS: nowS, lastS: nowS, count: 1, worst: reading, latest: reading };
    this.#stretches.set(key, stretch);
  }

  #forgetQuietest() {
    let quietest = null;
    for (const stretch of this.#stretches.values()) {
      if (!quietest || stretch.lastS < quietest.lastS) quietest = stretch;
    }
    if (quietest) this.#stretches.delete(quietest.key);
    this.forgotten += 1;
  }

  /**
   * Ongoing ones first, latest begun on top, so that rows do not jump while their counts grow; then the ended
   * ones, latest ended on top.
   * @param {number} nowS @param {"time"|"severity"} [order]
   * @returns {Stretch[]}
   */
  list(nowS, order = "time") {
    const ongoing = (/** @type {Stretch} */ s) => nowS - s.lastS < ONGOING_FOR_S;
    return [...this.#stretches.values()].sort((a, b) => {
      const group = Number(ongoing(b)) - Number(ongoing(a));
      if (group !== 0) return group;
      if (order === "severity") return height(b.worst) - height(a.worst) || b.startedS - a.startedS;
      return ongoing(a) ? b.startedS - a.startedS : b.lastS - a.lastS;
    });
  }
}
