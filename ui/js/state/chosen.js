// @ts-check
// The chosen vehicle: its latest event and its recent history, first from the server, then live; and its episodes as
// the server has them. Bounded.
import { readEpisodes } from "./episodes.js";
import { Ring } from "./ring.js";

/** @typedef {import("./episodes.js").Episode} Episode */
/** @typedef {import("./reading.js").Reading} Reading */
/** @typedef {"none"|"loading"|"ready"|"unknown"|"failed"} ChosenStatus */

const HISTORY = 600;

export class Chosen {
  /** @type {string|null} */ vehicleId = null;
  /** @type {ChosenStatus} */ status = "none";
  /** @type {Reading|null} */ latest = null;
  /** Why it failed, in the server's words. */ detail = "";
  /** The one that changed last first. @type {Episode[]} */ episodes = [];
  version = 0;
  /** @type {Ring<Reading>} */ #history = new Ring(HISTORY);

  /** @param {string|null} vehicleId */
  choose(vehicleId) {
    this.vehicleId = vehicleId;
    this.status = vehicleId === null ? "none" : "loading";
    this.latest = null;
    this.detail = "";
    this.episodes = [];
    this.#history.clear();
    this.version += 1;
  }

  /** @param {unknown[]} raws what the server knows of this vehicle's episodes */
  loadEpisodes(raws) {
    this.episodes = readEpisodes(raws);
    this.version += 1;
  }

  /** @param {Reading} reading a live one of this vehicle */
  add(reading) {
    this.latest = reading;
    this.status = "ready";
    this.#history.push(reading);
    this.version += 1;
  }

  /**
   * The server's answer; live events that overtook it come after it, once.
   * @param {Reading|null} latest @param {Reading[]} history oldest first
   */
  load(latest, history) {
    const live = this.#history.toArray();
    const sources = new Set(history.map((reading) => reading.source));
    this.#history.clear();
    for (const reading of history) this.#history.push(reading);
    for (const reading of live) if (reading.source === null || !sources.has(reading.source)) this.#history.push(reading);
    this.latest ??= latest ?? history.at(-1) ?? null;
    this.status = this.latest ? "ready" : "unknown";
    this.version += 1;
  }

  /** @param {"unknown"|"failed"} status @param {string} detail */
  refuse(status, detail) {
    if (this.status === "ready") return;
    this.status = status;
    this.detail = detail;
    this.version += 1;
  }

  /** @returns {Reading[]} in event time, oldest first; events without a time are left out */
  history() {
    const timed = this.#history.toArray().filter((reading) => reading.timeS !== null);
    return timed.sort((a, b) => /** @type {number} */ (a.timeS) - /** @type {number} */ (b.timeS));
  }

  get length() {
    return this.#history.length;
  }
}
