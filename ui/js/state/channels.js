// @ts-check
// What the fields of this fleet's events are: their names in words, units and plausible ranges, from the served model's
// channel specification. Pure. Before it: net/api; after it: the details of a vehicle.
import { text } from "./reading.js";

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

/**
 * @param {unknown} raws the server's answer
 * @returns {Channel[]} in its order: safety first
 */
export function readChannels(raws) {
  if (!Array.isArray(raws)) return [];
  return raws
    .filter((raw) => typeof raw === "object" && raw !== null && text(raw.name) !== null)
    .slice(0, MOST_CHANNELS)
    .map((raw) => ({
      name: raw.name,
      label: text(raw.label) ?? raw.name,
      unit: text(raw.unit) ?? "",
      range: interval(raw.range),
      safety: raw.safety === true,
    }));
}
