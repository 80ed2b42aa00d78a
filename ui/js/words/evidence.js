// @ts-check
// The figure that shows the cause of an alarm, and what the model expected in its place.
import { boundsInWords, boundsOf, isOutside, unexpectedFields, valueInWords } from "./expected.js";
import { count, withUnit } from "./format.js";
import { humanise, isKnownCause } from "./phrases.js";

/** @typedef {import("../state/records/scored_event.js").ScoredEvent} ScoredEvent */

const NAMES = new Map(Object.entries({ temperature: "Engine", fuelLevel: "Fuel" }));

/** @param {ScoredEvent} event @param {string} field @returns {string} e.g. "; 84 to 97 °C was expected" */
function butExpected(event, field) {
  const bounds = boundsOf(event, field);
  return bounds && isOutside(event.raw[field], bounds) ? `; ${boundsInWords(field, bounds)} was expected` : "";
}

/** @param {string} field @returns {(event: ScoredEvent) => string|null} */
const reads = (field) => (event) => {
  const value = event.raw[field];
  if (typeof value !== "number" || !Number.isFinite(value)) return null;
  const words = valueInWords(field, value, boundsOf(event, field));
  return `${NAMES.get(field) ?? humanise(field)} at ${words}${butExpected(event, field)}`;
};

/** @param {ScoredEvent} event */
function speedAgainstLimit(event) {
  if (event.speedKmh === null) return null;
  const limit = event.speedLimitKmh === null ? "" : ` where ${count(event.speedLimitKmh)} is allowed`;
  return `${withUnit(event.speedKmh, "km/h")}${limit}${butExpected(event, "speed")}`;
}

/** @param {ScoredEvent} event */
function speedChange(event) {
  if (event.accelerationKmh === null) return null;
  return `Speed changed by ${withUnit(event.accelerationKmh, "km/h")} between two events`;
}

/** @param {ScoredEvent} event */
function mostUnexpected(event) {
  const [field] = unexpectedFields(event);
  return field === undefined ? null : reads(field)(event);
}

/** @type {Map<string, (event: ScoredEvent) => string|null>} */
const EVIDENCE = new Map(
  Object.entries({
    overspeed: speedAgainstLimit,
    engine_overheat: reads("temperature"),
    battery_low: reads("battery"),
    coolant_drift: reads("temperature"),
    fuel_theft: reads("fuelLevel"),
    fuel_leak: reads("fuelLevel"),
    harsh_braking: speedChange,
    sensor_bias: mostUnexpected,
  }),
);

/** @param {ScoredEvent} event @returns {string|null} the figure that shows the cause, as far as one event can */
export function evidence(event) {
  if (event.cause === null) return null;
  const shows = EVIDENCE.get(event.cause);
  if (shows) return shows(event);
  return isKnownCause(event.cause) ? null : mostUnexpected(event); // a fleet's own causes say what its signals read
}
