// @ts-check
// What the model expected of a signal's value, as the result of an alarm says it.
import { fieldsOf, finite } from "../state/records/checked.js";
import { count, decimal, figures } from "./format.js";

/** @typedef {import("../state/records/scored_event.js").ScoredEvent} ScoredEvent */
/** @typedef {{low: number, high: number}} Bounds */

const UNITS = new Map(Object.entries({ speed: "km/h", temperature: "°C", battery: "%", fuelLevel: "%" }));
const OF_VALUES = "_level";

/** @param {string} feature @returns {string|null} the field whose value it is; null for what is computed from values */
export const fieldOf = (feature) => (feature.endsWith(OF_VALUES) ? feature.slice(0, -OF_VALUES.length) : null);

/** @param {ScoredEvent} event @param {string} field @returns {Bounds|null} null where nothing is said of its value */
export function boundsOf(event, field) {
  const said = fieldsOf(event.raw.expected)[field + OF_VALUES];
  const [low, high] = Array.isArray(said) ? [finite(said[0]), finite(said[2])] : [null, null];
  return finite(event.raw[field]) === null || low === null || high === null ? null : { low, high };
}

/** @param {ScoredEvent} event @returns {string[]} the fields whose values were not as expected, what weighs most first */
export function unexpectedFields(event) {
  const fields = Object.keys(fieldsOf(event.raw.expected)).map(fieldOf);
  return fields.filter((field) => field !== null).filter((field) => isOutside(event.raw[field], boundsOf(event, field)));
}

/** @param {unknown} value @param {Bounds|null} bounds */
export const isOutside = (value, bounds) =>
  bounds !== null && typeof value === "number" && (value < bounds.low || value > bounds.high);

/** @param {Bounds|null} bounds @returns {(value: number|null) => string} with the digits that tell them apart */
function digitsFor(bounds) {
  if (bounds === null || bounds.high - bounds.low >= 5) return count;
  return bounds.high - bounds.low >= 0.5 ? decimal : figures;
}

/** @param {string} field @param {number} value @param {Bounds|null} bounds beside which it is said */
export const valueInWords = (field, value, bounds) => inUnit(digitsFor(bounds)(value), field);

/** @param {string} field @param {Bounds} bounds @returns {string} e.g. "84 to 97 °C" */
export function boundsInWords(field, bounds) {
  const [low, high] = [bounds.low, bounds.high].map(digitsFor(bounds));
  return inUnit(low === high ? low : `${low} to ${high}`, field);
}

/** @param {string} digits @param {string} field */
const inUnit = (digits, field) => [digits, UNITS.get(field)].filter(Boolean).join(" ");
