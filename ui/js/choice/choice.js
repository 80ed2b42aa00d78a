// @ts-check
// Which vehicle is chosen: ties the address, the state, the server's history and the details panel together.
import { readEvent } from "../state/records/scored_event.js";
import { followLinks, link, linkedVehicle } from "./deep_link.js";

/** @typedef {import("../net/api.js").Api} Api */
/** @typedef {import("../state/fleet.js").FleetState} FleetState */
/** @typedef {import("../state/records/scored_event.js").ScoredEvent} ScoredEvent */

/** @param {unknown} events @returns {ScoredEvent[]} */
const readAll = (events) =>
  (Array.isArray(events) ? events : []).map(readEvent).filter((event) => event !== null);

const MOST_EPISODES = 20;

export class Choice {
  /** @type {(byHand: boolean) => void} */ onOpen = () => {};
  /** @type {() => void} */ onChange = () => {};
  /** @type {HTMLElement|null} */ #opener = null;
  /** @type {Promise<unknown>} */ #acting = Promise.resolve();

  /** @param {FleetState} state @param {Api} api */
  constructor(state, api) {
    this.state = state;
    this.api = api;
  }

  start() {
    followLinks((vehicleId) => this.#set(vehicleId, false));
    addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.close();
    });
    if (linkedVehicle() !== null) this.#set(linkedVehicle(), false);
  }

  /** @param {string} vehicleId */
  open(vehicleId) {
    if (this.state.chosen.vehicleId === null) this.#opener = /** @type {HTMLElement|null} */ (document.activeElement);
    link(vehicleId);
    this.#set(vehicleId, true);
  }

  close() {
    if (this.state.chosen.vehicleId === null) return;
    link(null);
    this.#set(null, true);
    if (this.#opener?.isConnected) this.#opener.focus({ preventScroll: true });
    this.#opener = null;
  }

  /** Asks the server again, e.g. after the connection was lost. */
  async refresh() {
    const { chosen } = this.state;
    const { vehicleId } = chosen;
    if (vehicleId === null) return;
    try {
      const answer = await this.api.vehicle(vehicleId);
      if (chosen.vehicleId === vehicleId) chosen.load(readEvent(answer.latest), readAll(answer.history));
      const sender = await this.api.sender(vehicleId).catch(() => null);
      if (sender && chosen.vehicleId === vehicleId) chosen.loadSender(sender);
    } catch (error) {
      const { status, message } = /** @type {import("../net/api.js").ApiError} */ (error);
      if (chosen.vehicleId === vehicleId) chosen.refuse(status === 404 ? "unknown" : "failed", message);
    }
    this.onChange();
  }

  /** Asks for the vehicle's episodes; what cannot be had now is asked for again with the next round. */
  async refreshEpisodes() {
    const { chosen } = this.state;
    const { vehicleId } = chosen;
    if (vehicleId === null) return;
    const episodes = await this.api.episodes({ vehicleId, limit: MOST_EPISODES }).catch(() => null);
    if (!episodes || chosen.vehicleId !== vehicleId) return;
    chosen.loadEpisodes(episodes);
    await Promise.all(chosen.untold().map(({ id }) => this.#refreshStory(id)));
  }

  /**
   * Does something about an episode of the vehicle, after what was begun before.
   * @param {string} episodeId @param {Record<string, unknown>} what @returns {Promise<string>} why not; empty where done
   */
  act(episodeId, what) {
    const done = this.#acting.then(() => this.#act(episodeId, what));
    this.#acting = done;
    return done;
  }

  /** @param {string} episodeId @param {Record<string, unknown>} what @returns {Promise<string>} */
  async #act(episodeId, what) {
    const { chosen } = this.state;
    const episode = chosen.episodes.find(({ id }) => id === episodeId);
    if (!episode) return "This episode is not listed any more.";
    const version = Math.max(episode.handling.version, chosen.storyOf(episode).length);
    try {
      chosen.loadStory(episodeId, await this.api.act(episodeId, version, what));
      return "";
    } catch (error) {
      await this.#refreshStory(episodeId);
      return /** @type {Error} */ (error).message;
    } finally {
      await this.refreshEpisodes();
      this.onChange();
    }
  }

  /** @param {string} episodeId */
  async #refreshStory(episodeId) {
    const actions = await this.api.story(episodeId).catch(() => null);
    if (actions) this.state.chosen.loadStory(episodeId, actions);
  }

  /** @param {string|null} vehicleId @param {boolean} byHand */
  #set(vehicleId, byHand) {
    const { chosen } = this.state;
    if (chosen.vehicleId !== vehicleId) {
      chosen.choose(vehicleId);
      void this.refresh();
      void this.refreshEpisodes();
    }
    if (vehicleId !== null) this.onOpen(byHand);
    this.onChange();
  }
}
