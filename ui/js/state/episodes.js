// @ts-check
// The anomaly episodes that the server knows, as it last told them, and the worst live event of each: a record says
// how bad it was, only an event shows the figure. Pure and bounded. Before it: net/api; after it: the views.
import { finite, text } from "./reading.js";

/** @typedef {import("./reading.js").Reading} Reading */
/**
 * @typedef {object} Episode
 * @property {string} id
 * @property {string} vehicleId
 * @property {boolean} open
 * @property {number} openedAtS event time, as are the others; Unix seconds
 * @property {number} updatedAtS of the latest event that the record knows
 * @property {string|null} cause
 * @property {number|null} severity the largest so far, 0 to 1
 * @property {number|null} peakError
 * @property {number} events since `openedAtS`
 * @property {number} anomalousEvents
 * @property {string[]} worst sources of the events with the largest errors
 * @property {string|null} closedBy "recovery" or "silence"
 */

const MOST_WORST = 3;

/** @param {unknown} raw @returns {Episode|null} null for what is no episode */
export function readEpisode(raw) {
  if (typeof raw !== "object" || raw === null) return null;
  const record = /** @type {Record<string, unknown>} */ (raw);
  const [id, vehicleId, openedAtS] = [text(record.episodeId), text(record.vehicleId), finite(record.openedAt)];
  if (id === null || vehicleId === null || openedAtS === null) return null;
  return {
    id,
    vehicleId,
    open: record.state === "open",
    openedAtS,
    updatedAtS: finite(record.updatedAt) ?? openedAtS,
    cause: text(record.cause),
    severity: finite(record.severity),
    peakError: finite(record.peakError),
    events: finite(record.events) ?? 0,
    anomalousEvents: finite(record.anomalousEvents) ?? 0,
    worst: (Array.isArray(record.worst) ? record.worst : []).filter((source) => text(source)).slice(0, MOST_WORST),
    closedBy: text(record.closedBy),
  };
}

/** @param {unknown[]} raws @returns {Episode[]} */
export const readEpisodes = (raws) => raws.map(readEpisode).filter((episode) => episode !== null);

/** @param {Episode} a @param {Episode} b */
const moreSevere = (a, b) => (b.severity ?? 0) - (a.severity ?? 0) || b.openedAtS - a.openedAtS;

/** @param {string} episodeId @param {string|null} cause */
const keyOf = (episodeId, cause) => `${episodeId}\n${cause ?? ""}`;

export class Episodes {
  loaded = false;
  /** @type {Episode[]} */ #open = [];
  /** @type {Episode[]} */ #closed = [];
  /** @type {Map<string, Reading>} */ #worst = new Map();

  /** @param {number} capacity live events kept, one per episode and cause */
  constructor(capacity) {
    this.capacity = capacity;
  }

  /** What the server says now takes the place of what it said before. @param {unknown[]} open @param {unknown[]} closed */
  load(open, closed) {
    this.#open = readEpisodes(open);
    this.#closed = readEpisodes(closed);
    this.loaded = true;
  }

  /** @param {Reading} reading a live event */
  note(reading) {
    if (reading.episodeId === null || !reading.isAnomaly) return;
    const key = keyOf(reading.episodeId, reading.cause);
    const worst = this.#worst.get(key);
    if (worst && (worst.error ?? 0) > (reading.error ?? 0)) return;
    if (!worst && this.#worst.size >= this.capacity) this.#worst.delete(this.#worst.keys().next().value ?? "");
    this.#worst.set(key, reading);
  }

  /**
   * @param {Episode} episode
   * @returns {Reading|null} the worst event that shows its cause, of those that came while this page was open
   */
  worstOf(episode) {
    return this.#worst.get(keyOf(episode.id, episode.cause)) ?? null;
  }

  get noted() {
    return this.#worst.size;
  }

  /**
   * @param {"time"|"severity"} [order] latest opened first, or most severe first; what has ended is always in the
   * order of its end
   * @returns {{open: Episode[], closed: Episode[]}}
   */
  list(order = "time") {
    const open = [...this.#open].sort(order === "severity" ? moreSevere : (a, b) => b.openedAtS - a.openedAtS);
    return { open, closed: [...this.#closed].sort((a, b) => b.updatedAtS - a.updatedAtS) };
  }
}
