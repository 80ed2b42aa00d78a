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
    if (episodes && chosen.vehicleId === vehicleId) chosen.loadEpisodes(episodes);
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
