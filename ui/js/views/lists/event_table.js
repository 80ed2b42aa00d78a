// @ts-check
// The latest events: a fixed set of rows, refreshed at a pace the eye can follow, and held while being read.
import { clockTime, count, decimal } from "../../words/format.js";
import { errorRatio, ratioText, verdict } from "../../words/phrases.js";
import { byId, instance, partsOf, setAttribute, setHidden, setText } from "../drawing/dom.js";
import { holdWhileRead } from "./reading_hold.js";

/** @typedef {import("../../state/reading.js").Reading} Reading */
/** @typedef {import("../../state/fleet.js").FleetState} FleetState */

const ROWS = 40;

/** @param {Reading} reading @returns {Record<string, string>} the text of each cell */
const cells = (reading) => ({
  time: clockTime(reading.timeS),
  vehicle: reading.vehicleId,
  speed: count(reading.speedKmh),
  change: decimal(reading.accelerationKmh),
  engine: count(reading.temperatureC),
  battery: count(reading.batteryPercent),
  traffic: count(reading.trafficLevel),
  error: ratioText(errorRatio(reading)),
  verdict: verdict(reading),
});

export class EventTable {
  #parts = partsOf(byId("events"));
  /** @type {{row: HTMLElement, parts: Record<string, HTMLElement>}[]} */ #rows = [];
  #painted = -1;
  /** @type {string|null} */ #chosen = null;

  /** @param {FleetState} state @param {(vehicleId: string) => void} choose @param {() => void} requestPaint */
  constructor(state, choose, requestPaint) {
    this.state = state;
    this.isHeld = holdWhileRead(this.#parts.scroll, requestPaint);
    this.#parts.rows.addEventListener("click", (event) => {
      const row = /** @type {HTMLElement|null} */ (/** @type {HTMLElement} */ (event.target).closest("tr"));
      if (row?.dataset.vehicle) choose(row.dataset.vehicle);
    });
  }

  paint() {
    const { chosen, recent, version } = this.state;
    const held = this.isHeld() && this.#rows.length > 0;
    setHidden(this.#parts.held, !held);
    if (held ? chosen.vehicleId === this.#chosen : version === this.#painted && chosen.vehicleId === this.#chosen) return;
    this.#chosen = chosen.vehicleId;
    if (!held) recent.newest(ROWS).forEach((reading, i) => this.#row(i, reading));
    this.#painted = held ? this.#painted : version;
    for (const { row } of this.#rows) setAttribute(row, "aria-current", row.dataset.vehicle === this.#chosen ? "true" : null);
  }

  /** @param {number} i @param {Reading} reading */
  #row(i, reading) {
    const { row, parts } = this.#rows[i] ?? this.#add();
    row.dataset.vehicle = reading.vehicleId;
    setAttribute(row, "data-anomalous", reading.isAnomaly ? "" : null);
    for (const [name, text] of Object.entries(cells(reading))) setText(parts[name], text);
  }

  #add() {
    const row = instance("event-row");
    const added = { row, parts: partsOf(row) };
    this.#rows.push(added);
    this.#parts.rows.append(row);
    return added;
  }
}
