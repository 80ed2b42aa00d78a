// @ts-check
// All that the page knows about the fleet. Pure: no DOM, no sockets, and time is passed in. Every part is
// bounded, so an hour of events leaves it no larger than a minute did.
import { Chosen } from "./chosen.js";
import { Episodes } from "./episodes.js";
import { Traces } from "./map/traces.js";
import { readChannels } from "./records/channels.js";
import { readEvent } from "./records/scored_event.js";
import { Ring } from "./ring.js";
import { Trends } from "./trends/trends.js";
import { Vehicles } from "./vehicles.js";

/** @typedef {import("./records/channels.js").Channel} Channel */
/** @typedef {import("./records/scored_event.js").ScoredEvent} ScoredEvent */

export const DEFAULT_LIMITS = {
  vehicles: 50_000,
  recent: 200,
  episodeEvents: 1000,
  traceCells: 80_000,
  trendS: 300,
  silentVehicleS: 1800,
};
const SWEEP_EVERY_S = 60;

export class FleetState {
  version = 0;
  received = 0;
  unreadable = 0;
  /** @type {number|null} */ lastEventS = null;
  /** How many seconds the server's clock is ahead of this computer's; 0 while they agree. */
  clockSkewS = 0;
  /** Who looks, and whether they may act on episodes. */ user = "";
  mayAct = false;
  snapshotLoaded = false;
  /** What the events carry; empty until the server has said it. @type {Channel[]} */ channels = [];
  #sweptS = 0;

  constructor(limits = DEFAULT_LIMITS) {
    this.limits = limits;
    this.vehicles = new Vehicles(limits.vehicles);
    this.trends = new Trends(limits.trendS);
    this.episodes = new Episodes(limits.episodeEvents);
    this.traces = new Traces(limits.traceCells);
    this.chosen = new Chosen();
    /** @type {Ring<ScoredEvent>} */
    this.recent = new Ring(limits.recent);
  }

  /** @param {unknown} raws what the server says of the events' fields */
  loadChannels(raws) {
    this.channels = readChannels(raws);
    this.chosen.version += 1;
  }

  /** @param {unknown[]} rawEvents one frame @param {number} nowS */
  ingest(rawEvents, nowS) {
    const events = this.#read(rawEvents);
    this.received += events.length;
    if (events.length > 0) this.lastEventS = nowS;
    this.trends.add(events, nowS);
    for (const event of events) this.#take(event, nowS);
    for (const event of events.slice(-this.limits.recent)) this.recent.push(event);
    this.#sweep(nowS);
    this.version += 1;
  }

  /**
   * The server's latest of every vehicle, after each connection: only what is newer than what is known.
   * @param {unknown[]} rawEvents @param {number} nowS
   */
  applySnapshot(rawEvents, nowS) {
    const events = this.#read(rawEvents);
    for (const event of events) {
      const seenS = Math.min(nowS, event.scoredAtS ?? nowS);
      if (!this.vehicles.update(event, seenS)) continue;
      this.#trace(event);
      this.episodes.note(event);
    }
    if (this.recent.length === 0) this.#fillRecent(events);
    this.snapshotLoaded = true;
    this.version += 1;
  }

  /** @param {ScoredEvent[]} events */
  #fillRecent(events) {
    const byScoring = [...events].sort((a, b) => (a.scoredAtS ?? 0) - (b.scoredAtS ?? 0));
    for (const event of byScoring.slice(-this.limits.recent)) this.recent.push(event);
  }

  /** @param {unknown[]} rawEvents @returns {ScoredEvent[]} */
  #read(rawEvents) {
    const events = [];
    for (const raw of rawEvents) {
      const event = readEvent(raw);
      if (event) events.push(event);
      else this.unreadable += 1;
    }
    return events;
  }

  /** @param {ScoredEvent} event @param {number} nowS */
  #take(event, nowS) {
    if (this.vehicles.update(event, nowS)) this.#trace(event);
    this.episodes.note(event);
    if (event.vehicleId === this.chosen.vehicleId) this.chosen.add(event);
  }

  /** Anomalous positions draw no streets: a jumping GPS would. @param {ScoredEvent} event */
  #trace(event) {
    const row = this.vehicles.row(event.vehicleId);
    const x = this.vehicles.x[row];
    if (!event.isAnomaly && !Number.isNaN(x)) this.traces.add(x, this.vehicles.y[row]);
  }

  /** @param {number} nowS */
  #sweep(nowS) {
    if (nowS - this.#sweptS < SWEEP_EVERY_S) return;
    this.#sweptS = nowS;
    this.vehicles.forgetSilent(nowS - this.limits.silentVehicleS);
  }
}
