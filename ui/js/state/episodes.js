// @ts-check
// The anomaly episodes that the server knows, as it last told them, and the worst live event of each: a record says
// how bad it was, only an event shows the figure. Pure and bounded. Before it: net/api; after it: the views.
import { readEpisodes } from "./records/episode.js";

/** @typedef {import("./records/episode.js").Episode} Episode */
/** @typedef {import("./records/scored_event.js").ScoredEvent} ScoredEvent */
/** @typedef {import("./vehicles.js").Vehicles} Vehicles */

/**
 * In the vehicle's own time: its record is up to ten seconds old, its latest event tells how far it has come since.
 * A silence goes on for as long as others are heard.
 * @param {Episode} episode @param {{vehicles: Vehicles, lastEventS: number|null, clockSkewS: number}} state
 * @returns {number} seconds
 */
export function lastedS(episode, { vehicles, lastEventS, clockSkewS }) {
  if (episode.open && episode.cause === "silent") {
    return Math.max(episode.updatedAtS, (lastEventS ?? 0) + clockSkewS) - episode.openedAtS;
  }
  const row = episode.open ? vehicles.row(episode.vehicleId) : -1;
  const latestS = row < 0 ? episode.updatedAtS : Math.max(episode.updatedAtS, vehicles.timeS[row]);
  return Math.max(1, latestS - episode.openedAtS);
}

/** @param {Episode} a @param {Episode} b */
const moreSevere = (a, b) => (b.severity ?? 0) - (a.severity ?? 0) || b.openedAtS - a.openedAtS;

/** @param {string} episodeId @param {string|null} cause */
const keyOf = (episodeId, cause) => `${episodeId}\n${cause ?? ""}`;

export class Episodes {
  loaded = false;
  /** @type {Episode[]} */ #open = [];
  /** @type {Episode[]} */ #closed = [];
  /** @type {Map<string, ScoredEvent>} */ #worst = new Map();

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

  /** @param {ScoredEvent} event a live event */
  note(event) {
    if (event.episodeId === null || !event.isAnomaly) return;
    const key = keyOf(event.episodeId, event.cause);
    const worst = this.#worst.get(key);
    if (worst && (worst.error ?? 0) > (event.error ?? 0)) return;
    if (!worst && this.#worst.size >= this.capacity) this.#worst.delete(this.#worst.keys().next().value ?? "");
    this.#worst.set(key, event);
  }

  /**
   * @param {Episode} episode
   * @returns {ScoredEvent|null} the worst event that shows its cause, of those that came while this page was open
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
   * @param {string} [status] how far they are dealt with; "current" = not snoozed
   * @returns {{open: Episode[], closed: Episode[]}}
   */
  list(order = "time", status = "current") {
    const isShown = (/** @type {Episode} */ { handling }) =>
      status === "current" ? handling.status !== "snoozed" : handling.status === status;
    const open = this.#open.filter(isShown).sort(order === "severity" ? moreSevere : (a, b) => b.openedAtS - a.openedAtS);
    return { open, closed: this.#closed.filter(isShown).sort((a, b) => b.updatedAtS - a.updatedAtS) };
  }
}
