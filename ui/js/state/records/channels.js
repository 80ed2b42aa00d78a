// @ts-check
// What the fields of this fleet's events are: their names in words, units and plausible ranges, from the served model's
// channel specification. Pure. Before it: net/api; after it: the details of a vehicle.
import { fieldsOf, text } from "./checked.js";

/**
 * @typedef {object} Channel
 * @property {string} name the event's field
 * @property {string} label
 * @property {string} unit empty where there is none
 * @property {[number, number]|null} range plausible values
 * @property {boolean} safety
 */

const MOST_CHANNELS = 200;

/** @param {unknown} value @returns {[number, number]|null} */
function interval(value) {
  if (!Array.isArray(value) || value.length !== 2 || !value.every(Number.isFinite)) return null;
  return value[0] < value[1] ? [value[0], value[1]] : null;
}

/** @param {unknown} raw @returns {Channel|null} null for what is no channel */
function readChannel(raw) {
  const { name: given, label, unit, range, safety } = fieldsOf(raw);
  const name = text(given);
  if (name === null) return null;
  return { name, label: text(label) ?? name, unit: text(unit) ?? "", range: interval(range), safety: safety === true };
}

/**
 * @param {unknown} raws the server's answer
 * @returns {Channel[]} in its order: safety first
 */
export function readChannels(raws) {
  if (!Array.isArray(raws)) return [];
  return raws
    .map(readChannel)
    .filter((channel) => channel !== null)
    .slice(0, MOST_CHANNELS);
}
