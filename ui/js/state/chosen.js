// @ts-check
// The chosen vehicle: its latest event and its recent history, first from the server, then live; and its episodes as
// the server has them. Bounded.
import { readEpisodes } from "./records/episode.js";
import { readActions } from "./records/handling.js";
import { readSender } from "./records/sender.js";
import { Ring } from "./ring.js";

/** @typedef {import("./records/episode.js").Episode} Episode */
/** @typedef {import("./records/handling.js").Action} Action */
/** @typedef {import("./records/scored_event.js").ScoredEvent} ScoredEvent */
/** @typedef {"none"|"loading"|"ready"|"unknown"|"failed"} ChosenStatus */

const HISTORY = 600;

export class Chosen {
  /** @type {string|null} */ vehicleId = null;
  /** @type {ChosenStatus} */ status = "none";
  /** @type {ScoredEvent|null} */ latest = null;
  /** Why it failed, in the server's words. */ detail = "";
  /** The one that changed last first. @type {Episode[]} */ episodes = [];
  /** Null until something is known of it. @type {import("./records/sender.js").Sender|null} */ sender = null;
  version = 0;
  /** What was done, by episode. @type {Map<string, Action[]>} */ #stories = new Map();
  /** @type {Ring<ScoredEvent>} */ #history = new Ring(HISTORY);

  /** @param {string|null} vehicleId */
  choose(vehicleId) {
    this.vehicleId = vehicleId;
    this.status = vehicleId === null ? "none" : "loading";
    this.latest = null;
    this.detail = "";
    this.episodes = [];
    this.sender = null;
    this.#stories.clear();
    this.#history.clear();
    this.version += 1;
  }

  /** @param {unknown} raw what the server knows of its sender */
  loadSender(raw) {
    this.sender = readSender(raw);
    this.version += 1;
  }

  /** @param {unknown[]} raws what the server knows of this vehicle's episodes */
  loadEpisodes(raws) {
    this.episodes = readEpisodes(raws);
    this.version += 1;
  }

  /** @returns {Episode[]} those about which more was done than is known here */
  untold() {
    return this.episodes.filter((episode) => this.storyOf(episode).length < episode.handling.version);
  }

  /** @param {string} episodeId @param {unknown} actions all that was done about it */
  loadStory(episodeId, actions) {
    this.#stories.set(episodeId, readActions(actions));
    this.version += 1;
  }

  /** @param {Episode} episode @returns {Action[]} what was done about it, as far as it is known; the first action first */
  storyOf(episode) {
    return this.#stories.get(episode.id) ?? [];
  }

  /** @param {ScoredEvent} event a live one of this vehicle */
  add(event) {
    this.latest = event;
    this.status = "ready";
    this.#history.push(event);
    this.version += 1;
  }

  /**
   * The server's answer; live events that overtook it come after it, once.
   * @param {ScoredEvent|null} latest @param {ScoredEvent[]} history oldest first
   */
  load(latest, history) {
    const live = this.#history.toArray();
    const sources = new Set(history.map((event) => event.source));
    this.#history.clear();
    for (const event of history) this.#history.push(event);
    for (const event of live) if (event.source === null || !sources.has(event.source)) this.#history.push(event);
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

  /** @returns {ScoredEvent[]} in event time, oldest first; events without a time are left out */
  history() {
    const timed = this.#history.toArray().filter((event) => event.timeS !== null);
    return timed.sort((a, b) => /** @type {number} */ (a.timeS) - /** @type {number} */ (b.timeS));
  }

  get length() {
    return this.#history.length;
  }
}
