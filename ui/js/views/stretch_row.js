// @ts-check
// One stretch of anomalous events as a row that can be chosen.
import { ONGOING_FOR_S } from "../state/anomalies.js";
import { ago, count, percent, span } from "../words/format.js";
import { causeName, contributionsInWords, errorRatio, evidence, times } from "../words/phrases.js";
import { instance, partsOf, setAttribute, setText } from "./dom.js";

/** @typedef {import("../state/anomalies.js").Stretch} Stretch */

/** @type {WeakMap<HTMLElement, Record<string, HTMLElement>>} */
const partsByRow = new WeakMap();

/** @param {Stretch} stretch @returns {HTMLElement} */
export function createRow(stretch) {
  const row = instance("stretch-row");
  partsByRow.set(row, partsOf(row));
  const button = /** @type {HTMLElement} */ (row.firstElementChild);
  button.dataset.vehicle = stretch.vehicleId;
  return row;
}

/** @param {Stretch} stretch @param {number} nowS */
function when(stretch, nowS) {
  const ongoing = nowS - stretch.lastS < ONGOING_FOR_S;
  return ongoing ? `for ${span(Math.max(1, nowS - stretch.startedS))}` : ago(nowS - stretch.lastS);
}

/** @param {Stretch} stretch */
function proof({ worst }) {
  const ratio = errorRatio(worst);
  return evidence(worst) ?? (ratio === null ? "" : `Error ${times(ratio)} the threshold`);
}

/** @param {HTMLElement} row @param {Stretch} stretch @param {number} nowS @param {string|null} chosen */
export function updateRow(row, stretch, nowS, chosen) {
  const parts = /** @type {Record<string, HTMLElement>} */ (partsByRow.get(row));
  const { worst } = stretch;
  setText(parts.cause, causeName(stretch.cause));
  setText(parts.vehicle, stretch.vehicleId);
  setText(parts.evidence, proof(stretch));
  setText(parts.when, when(stretch, nowS));
  setText(parts.why, contributionsInWords(worst));
  setText(parts.severity, `${percent(worst.severity)} · ${count(stretch.count)}×`);
  parts.meter.style.transform = `scaleX(${Math.max(0, Math.min(1, worst.severity ?? 0))})`;
  const button = /** @type {HTMLElement} */ (row.firstElementChild);
  setAttribute(button, "aria-current", stretch.vehicleId === chosen ? "true" : null);
  setAttribute(button, "title", `${contributionsInWords(worst)}\nPeak severity ${percent(worst.severity)}, anomalous events: ${count(stretch.count)}`);
}
