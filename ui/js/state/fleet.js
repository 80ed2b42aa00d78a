// @ts-check
// All that the page knows about the fleet. Pure: no DOM, no sockets, and time is passed in. Every part is
// bounded, so an hour of events leaves it no larger than a minute did.
import { readChannels } from "./channels.js";
import { Chosen } from "./chosen.js";
import { Episodes } from "./episodes.js";
import { Traces } from "./map/traces.js";
import { readEvent } from "./reading.js";
import { Ring } from "./ring.js";
import { Trends } from "./trends/trends.js";
import { Vehicles } from "./vehicles.js";

/** @typedef {import("./channels.js").Channel} Channel */
/** @typedef {import("./reading.js").Reading} Reading */

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
    /** @type {Ring<Reading>} */
    this.recent = new Ring(limits.recent);
  }

  /** @param {unknown} raws what the server says of the events' fields */
  loadChannels(raws) {
    this.channels = readChannels(raws);
    this.chosen.version += 1;
  }

  /** @param {unknown[]} rawEvents one frame @param {number} nowS */
  ingest(rawEvents, nowS) {
    const readings = this.#read(rawEvents);
    this.received += readings.length;
    if (readings.length > 0) this.lastEventS = nowS;
    this.trends.add(readings, nowS);
    for (const reading of readings) this.#take(reading, nowS);
    for (const reading of readings.slice(-this.limits.recent)) this.recent.push(reading);
    this.#sweep(nowS);
    this.version += 1;
  }

  /**
   * The server's latest of every vehicle, after each connection: only what is newer than what is known.
   * @param {unknown[]} rawEvents @param {number} nowS
   */
  applySnapshot(rawEvents, nowS) {
    const readings = this.#read(rawEvents);
    for (const reading of readings) {
      const seenS = Math.min(nowS, reading.scoredAtS ?? nowS);
      if (!this.vehicles.update(reading, seenS)) continue;
      this.#trace(reading);
      this.episodes.note(reading);
    }
    if (this.recent.length === 0) this.#fillRecent(readings);
    this.snapshotLoaded = true;
    this.version += 1;
  }

  /** @param {Reading[]} readings */
  #fillRecent(readings) {
    const byScoring = [...readings].sort((a, b) => (a.scoredAtS ?? 0) - (b.scoredAtS ?? 0));
    for (const reading of byScoring.slice(-this.limits.recent)) this.recent.push(reading);
  }

  /** @param {unknown[]} rawEvents @returns {Reading[]} */
  #read(rawEvents) {
    const readings = [];
    for (const raw of rawEvents) {
      const reading = readEvent(raw);
      if (reading) readings.push(reading);
      else this.unreadable += 1;
    }
    return readings;
  }

  /** @param {Reading} reading @param {number} nowS */
  #take(reading, nowS) {
    if (this.vehicles.update(reading, nowS)) this.#trace(reading);
    this.episodes.note(reading);
    if (reading.vehicleId === this.chosen.vehicleId) this.chosen.add(reading);
  }

  /** Anomalous positions draw no streets: a jumping GPS would. @param {Reading} reading */
  #trace(reading) {
    const row = this.vehicles.row(reading.vehicleId);
    const x = this.vehicles.x[row];
    if (!reading.isAnomaly && !Number.isNaN(x)) this.traces.add(x, this.vehicles.y[row]);
  }

  /** @param {number} nowS */
  #sweep(nowS) {
    if (nowS - this.#sweptS < SWEEP_EVERY_S) return;
    this.#sweptS = nowS;
    this.vehicles.forgetSilent(nowS - this.limits.silentVehicleS);
  }
}
