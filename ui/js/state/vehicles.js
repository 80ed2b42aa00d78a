// @ts-check
// The latest of every vehicle, in columns: what the map, the search and the counts need, and no more, so that
// fifty thousand vehicles are a few megabytes. Full events are asked of the server when a vehicle is chosen.
import { mapX, mapY } from "./map/mercator.js";

/** @typedef {import("./records/scored_event.js").ScoredEvent} ScoredEvent */

export const SILENT_AFTER_S = 30;
const LATE_AT_MOST_S = 300; // older than this is a clock that was set back, not a late event
const FREED_AT_ONCE = 0.1;

export class Vehicles {
  /** @type {Map<string, number>} */ #rows = new Map();
  /** @type {number[]} */ #free = [];
  /** @type {(string|null)[]} */ ids = [];
  evicted = 0;

  /** @param {number} capacity */
  constructor(capacity) {
    this.capacity = capacity;
    this.x = new Float64Array(capacity); // on the map, NaN where the position is unknown
    this.y = new Float64Array(capacity);
    this.speedKmh = new Float64Array(capacity);
    this.severity = new Float32Array(capacity);
    this.anomalous = new Uint8Array(capacity);
    this.timeS = new Float64Array(capacity);
    this.seenS = new Float64Array(capacity);
    this.scoredAtS = new Float64Array(capacity);
  }

  get size() {
    return this.#rows.size;
  }

  /** Rows in use lie below this. */
  get end() {
    return this.ids.length;
  }

  /** @param {string} vehicleId @returns {number} its row, or -1 */
  row(vehicleId) {
    return this.#rows.get(vehicleId) ?? -1;
  }

  /**
   * @param {ScoredEvent} event @param {number} nowS
   * @returns {boolean} false when something newer of this vehicle is known already
   */
  update(event, nowS) {
    const known = this.row(event.vehicleId);
    if (known >= 0 && this.#isOlder(known, event)) return false;
    this.#write(known >= 0 ? known : this.#add(event.vehicleId), event, nowS);
    return true;
  }

  /** @param {number} row @param {ScoredEvent} event */
  #isOlder(row, event) {
    if (event.scoredAtS !== null && event.scoredAtS < this.scoredAtS[row]) return true;
    const behindS = event.timeS === null ? 0 : this.timeS[row] - event.timeS;
    return behindS > 0 && behindS < LATE_AT_MOST_S;
  }

  /** @param {number} row @param {ScoredEvent} event @param {number} nowS */
  #write(row, event, nowS) {
    const { latitude, longitude } = event;
    const placed = latitude !== null && longitude !== null;
    this.x[row] = placed ? mapX(longitude) : NaN;
    this.y[row] = placed ? mapY(latitude) : NaN;
    this.speedKmh[row] = event.speedKmh ?? NaN;
    this.severity[row] = event.severity ?? 0;
    this.anomalous[row] = event.isAnomaly ? 1 : 0;
    this.timeS[row] = event.timeS ?? 0;
    this.seenS[row] = nowS;
    this.scoredAtS[row] = event.scoredAtS ?? 0;
  }

  /** @param {string} vehicleId @returns {number} */
  #add(vehicleId) {
    if (this.#rows.size >= this.capacity) this.#forgetOldest(Math.ceil(this.capacity * FREED_AT_ONCE));
    const row = this.#free.pop() ?? this.ids.length;
    this.ids[row] = vehicleId;
    this.#rows.set(vehicleId, row);
    return row;
  }

  /** @param {number} count */
  #forgetOldest(count) {
    const oldest = [...this.#rows.values()].sort((a, b) => this.seenS[a] - this.seenS[b]).slice(0, count);
    for (const row of oldest) this.#forget(row);
  }

  /** @param {number} row */
  #forget(row) {
    this.#rows.delete(/** @type {string} */ (this.ids[row]));
    this.ids[row] = null;
    this.x[row] = this.y[row] = NaN;
    this.anomalous[row] = 0;
    this.#free.push(row);
    this.evicted += 1;
  }

  /** Forgets vehicles not heard of since. @param {number} beforeS */
  forgetSilent(beforeS) {
    for (const row of [...this.#rows.values()]) if (this.seenS[row] < beforeS) this.#forget(row);
  }

  /** @param {number} nowS @returns {number} vehicles that are not silent and whose latest event is anomalous */
  countAnomalous(nowS) {
    const sinceS = nowS - SILENT_AFTER_S;
    let count = 0;
    for (let row = 0; row < this.end; row++) if (this.anomalous[row] && this.seenS[row] >= sinceS) count += 1;
    return count;
  }

  /**
   * Identifiers that contain a text, those that begin with it first.
   * @param {string} part @param {number} count @returns {string[]}
   */
  matching(part, count) {
    const wanted = part.toLowerCase();
    const begin = [];
    const contain = [];
    for (const id of this.#rows.keys()) {
      const place = id.toLowerCase().indexOf(wanted);
      if (place === 0) begin.push(id);
      else if (place > 0 && contain.length < count) contain.push(id);
      if (begin.length >= count) break;
    }
    return [...begin, ...contain].slice(0, count);
  }
}
