// @ts-check
// The latest events: a fixed set of rows, refreshed at a pace the eye can follow, and held while being read.
import { clockTime, count, decimal } from "../../words/format.js";
import { errorRatio, ratioText, verdict } from "../../words/phrases.js";
import { byId, instance, partsOf, setAttribute, setHidden, setText } from "../drawing/dom.js";
import { holdWhileRead } from "./reading_hold.js";

/** @typedef {import("../../state/records/scored_event.js").ScoredEvent} ScoredEvent */
/** @typedef {import("../../state/fleet.js").FleetState} FleetState */

const ROWS = 40;

/** @param {ScoredEvent} event @returns {Record<string, string>} the text of each cell */
const cells = (event) => ({
  time: clockTime(event.timeS),
  vehicle: event.vehicleId,
  speed: count(event.speedKmh),
  change: decimal(event.accelerationKmh),
  engine: count(event.temperatureC),
  battery: count(event.batteryPercent),
  traffic: count(event.trafficLevel),
  error: ratioText(errorRatio(event)),
  verdict: verdict(event),
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
    if (!held) recent.newest(ROWS).forEach((event, i) => this.#row(i, event));
    this.#painted = held ? this.#painted : version;
    for (const { row } of this.#rows) setAttribute(row, "aria-current", row.dataset.vehicle === this.#chosen ? "true" : null);
  }

  /** @param {number} i @param {ScoredEvent} event */
  #row(i, event) {
    const { row, parts } = this.#rows[i] ?? this.#add();
    row.dataset.vehicle = event.vehicleId;
    setAttribute(row, "data-anomalous", event.isAnomaly ? "" : null);
    for (const [name, text] of Object.entries(cells(event))) setText(parts[name], text);
  }

  #add() {
    const row = instance("event-row");
    const added = { row, parts: partsOf(row) };
    this.#rows.push(added);
    this.#parts.rows.append(row);
    return added;
  }
}
