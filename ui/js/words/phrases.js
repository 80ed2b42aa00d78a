// @ts-check
// What the detector's names mean in words. Names without an entry are taken apart: `fuel_leak` is "Fuel leak".
import { count, decimal, percent, withUnit } from "./format.js";

/** @typedef {import("../state/reading.js").Reading} Reading */

const UNITS = new Map(
  Object.entries({ kmh: "km/h", c: "°C", percent: "%", m: "m", s: "s", ms: "m/s", deg: "°", h: "h" }),
);

/** @param {string} name snake_case or camelCase @returns {string} */
export function humanise(name) {
  const words = name.replace(/([a-z\d])([A-Z])/g, "$1_$2").toLowerCase().split(/[_\s]+/).filter(Boolean);
  const unit = words.length > 1 ? UNITS.get(words[words.length - 1]) : undefined;
  const phrase = (unit ? words.slice(0, -1) : words).join(" ");
  return phrase.charAt(0).toUpperCase() + phrase.slice(1);
}

const CAUSES = new Map(
  Object.entries({
    overspeed: "Overspeed",
    engine_overheat: "Engine overheating",
    battery_low: "Battery low",
    battery_drain: "Battery draining",
    harsh_braking: "Harsh braking",
    coolant_drift: "Coolant drifting",
    coolant_leak: "Coolant leak",
    fuel_theft: "Fuel theft",
    fuel_leak: "Fuel leak",
    stuck_sensor: "Sensor stuck",
    sensor_bias: "Sensor biased",
    gps_jump: "Position jumped",
    gps_spoof: "Position spoofed",
    dropout: "Signal dropout",
    clock_skew: "Vehicle clock off",
  }),
);

/** @param {string|null} cause */
export const causeName = (cause) => (cause === null ? "Unusual behaviour" : (CAUSES.get(cause) ?? humanise(cause)));

/** @param {Reading} r */
function speedAgainstLimit(r) {
  if (r.speedKmh === null) return null;
  const limit = r.speedLimitKmh === null ? "" : ` where ${count(r.speedLimitKmh)} is allowed`;
  return `${withUnit(r.speedKmh, "km/h")}${limit}`;
}

/** @type {Map<string, (r: Reading) => string|null>} */
const EVIDENCE = new Map(
  Object.entries({
    overspeed: speedAgainstLimit,
    engine_overheat: (r) => (r.temperatureC === null ? null : `Engine at ${withUnit(r.temperatureC, "°C")}`),
    battery_low: (r) => (r.batteryPercent === null ? null : `Battery at ${withUnit(r.batteryPercent, "%")}`),
    battery_drain: (r) => (r.batteryPercent === null ? null : `Battery at ${withUnit(r.batteryPercent, "%")}`),
    fuel_theft: (r) => (r.fuelPercent === null ? null : `Fuel at ${withUnit(r.fuelPercent, "%")}`),
    fuel_leak: (r) => (r.fuelPercent === null ? null : `Fuel at ${withUnit(r.fuelPercent, "%")}`),
    harsh_braking: (r) =>
      r.accelerationKmh === null ? null : `Speed changed by ${withUnit(r.accelerationKmh, "km/h")} between two events`,
  }),
);

/** @param {Reading} reading @returns {string|null} the figure that shows the cause, as far as one event can */
export const evidence = (reading) => (reading.cause === null ? null : (EVIDENCE.get(reading.cause)?.(reading) ?? null));

/** @param {Reading} reading @returns {string} how far beyond the threshold */
export function excess(reading) {
  if (reading.error === null || !reading.threshold) return "";
  const ratio = reading.error / reading.threshold;
  return `Error ${ratio < 9.95 ? decimal(ratio) : count(ratio)} × threshold`;
}

/**
 * @param {Reading} reading
 * @returns {{name: string, share: number}[]} the contributions in words, largest first
 */
export function contributions(reading) {
  const given = reading.raw.contributions;
  if (typeof given !== "object" || given === null) return [];
  return Object.entries(given)
    .filter(([, share]) => typeof share === "number" && Number.isFinite(share))
    .map(([name, share]) => ({ name: humanise(name), share: Math.max(0, Math.min(1, share)) }))
    .sort((a, b) => b.share - a.share)
    .slice(0, 5);
}

/** @param {Reading} reading @returns {string} e.g. "Speed over limit 71 %, jerk 8 %" */
export function contributionsInWords(reading) {
  const parts = contributions(reading).filter(({ share }) => share >= 0.05);
  return parts
    .map(({ name, share }, i) => `${i === 0 ? name : name.charAt(0).toLowerCase() + name.slice(1)} ${percent(share)}`)
    .join(", ");
}

/** @param {Reading} reading */
export function verdict(reading) {
  if (reading.isAnomaly) return causeName(reading.cause);
  if (reading.warmingUp) return "Warming up";
  return reading.repeat ? "Repeated" : "Normal";
}
