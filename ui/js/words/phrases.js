// @ts-check
// What the detector's names mean in words. Names without an entry are taken apart: `fuel_leak` is "Fuel leak".
import { boundsInWords, boundsOf, fieldOf } from "./expected.js";
import { clockTime, count, decimal, percent, span } from "./format.js";

/** @typedef {import("../state/records/scored_event.js").ScoredEvent} ScoredEvent */
/** @typedef {import("../state/records/episode.js").Episode} Episode */

/** @param {Record<string, string>} names */
const dictionary = (names) => new Map(Object.entries(names));

const UNIT_SUFFIX = /_(kmh_s|c_s|pct_s|m_s|kmh|pct|percent|deg|c|m|s)$/;

/** @param {string} name snake_case or camelCase @returns {string} */
export function humanise(name) {
  const snake = name.replace(/([a-z\d])([A-Z])/g, "$1_$2").toLowerCase();
  const phrase = snake.replace(UNIT_SUFFIX, "").split(/[_\s]+/).filter(Boolean).join(" ");
  return phrase.charAt(0).toUpperCase() + phrase.slice(1);
}

const CAUSES = dictionary({
  overspeed: "Overspeed",
  engine_overheat: "Engine overheating",
  coolant_drift: "Coolant drifting",
  battery_low: "Battery low",
  fuel_theft: "Sudden fuel loss",
  fuel_leak: "Fuel leaking",
  harsh_braking: "Harsh braking",
  gps_jump: "Position jumped",
  gps_spoof: "Position spoofed",
  stuck_sensor: "Sensor stuck",
  sensor_bias: "Sensor reads wrong",
  sensor_noise: "Sensor noisy",
  drop_out: "Signal missing",
  message_loss: "Messages missing",
  clock_skew: "Vehicle clock off",
  silent: "Silent",
  context: "Unusual for the conditions",
});

// A feature is called after its channel and what is looked at in it; see fleet/events/channels.py.
const CHANNELS = dictionary({
  latitude: "position",
  place: "position",
  temperature: "engine temperature",
  fuelLevel: "fuel",
  speed_over_limit: "speed over limit",
  speed_change: "change of speed",
  travel_error: "position against speed",
  step_excess: "jump in position",
});
const LOOKS = dictionary({
  level: "",
  peak: "",
  outside: "outside its range",
  mean30: "",
  medium: "in the last minute",
  slow: "in the last minutes",
  drift: "over ten minutes",
  rough: "noise",
  stepped: "step",
  frozen: "unchanged",
  lost: "missing",
});
const OF_TIME = dictionary({
  interval: "time since the last message",
  interval_mean: "time between messages",
  ahead: "clock ahead",
  behind: "clock behind",
});

/** @param {string|null} cause @returns {boolean} whether it is one of the built-in detector's */
export const isKnownCause = (cause) => CAUSES.has(cause ?? "");

/** @param {string|null} cause */
export const causeName = (cause) => (cause === null ? "Unusual behaviour" : (CAUSES.get(cause) ?? humanise(cause)));

/** @param {string} feature */
function featureName(feature) {
  const cut = feature.lastIndexOf("_");
  const look = LOOKS.get(feature.slice(cut + 1));
  if (OF_TIME.has(feature) || look === undefined) return OF_TIME.get(feature) ?? humanise(feature).toLowerCase();
  const channel = feature.slice(0, cut);
  return `${CHANNELS.get(channel) ?? humanise(channel).toLowerCase()} ${look}`.trim();
}

/** @param {ScoredEvent} event @returns {number|null} reconstruction error over its threshold */
export const errorRatio = (event) =>
  event.error === null || !event.threshold ? null : event.error / event.threshold;

/** @param {number|null} ratio @returns {string} */
export const ratioText = (ratio) => (ratio !== null && ratio < 9.95 ? decimal(ratio) : count(ratio));

/** @param {number|null} ratio @returns {string} kept on one line by its space */
export const times = (ratio) => `${ratioText(ratio)}\u00a0×`;

/**
 * @param {ScoredEvent} event
 * @returns {{name: string, share: number, expected: string|null}[]} the contributions in words, largest first, and
 *   what was expected of them
 */
export function contributions(event) {
  const given = event.raw.contributions;
  if (typeof given !== "object" || given === null) return [];
  return Object.entries(given)
    .filter(([, share]) => typeof share === "number" && Number.isFinite(share))
    .map(([name, share]) => ({ name: featureName(name), share: Math.max(0, Math.min(1, share)), expected: expected(event, name) }))
    .sort((a, b) => b.share - a.share)
    .slice(0, 5);
}

/** @param {ScoredEvent} event @param {string} feature @returns {string|null} */
function expected(event, feature) {
  const field = fieldOf(feature);
  const bounds = field === null ? null : boundsOf(event, field);
  return field === null || bounds === null ? null : boundsInWords(field, bounds);
}

/** @param {ScoredEvent} event @returns {string} e.g. "Speed over limit 71 %, acceleration 8 %" */
export function contributionsInWords(event) {
  const parts = contributions(event).filter(({ share }) => share >= 0.05);
  const phrase = parts.map(({ name, share }) => `${name} ${percent(share)}`).join(", ");
  return phrase.charAt(0).toUpperCase() + phrase.slice(1);
}

const CLOSED_BY = dictionary({ recovery: "Recovered", silence: "Fell silent" });

/** @param {{open: boolean, closedBy: string|null}} episode */
export const episodeState = ({ open, closedBy }) => (open ? "Ongoing" : (CLOSED_BY.get(closedBy ?? "") ?? "Ended"));

/** @param {Episode} episode @returns {string} */
function silenceInWords({ open, openedAtS, usualPauseS }) {
  const usual = usualPauseS === null ? "" : `; an event every ${span(Math.max(1, Math.round(usualPauseS)))} was usual`;
  return `Nothing heard ${open ? "since" : "after"} ${clockTime(openedAtS)}${usual}`;
}

/** @param {Episode} episode @returns {string} what it rests on: alarms, or that there was nothing */
export function groundsInWords(episode) {
  if (episode.cause === "silent") return silenceInWords(episode);
  return `${count(episode.anomalousEvents)} of ${count(episode.events)} events anomalous`;
}

/** @param {Episode} episode @returns {string} how often it alarmed; nothing for a silence */
export const alarmsInWords = (episode) => (episode.cause === "silent" ? "" : `${count(episode.anomalousEvents)}×`);

/** @param {ScoredEvent} event */
export function verdict(event) {
  if (event.isAnomaly) return causeName(event.cause);
  if (event.warmingUp) return "Warming up";
  return event.repeat ? "Repeated" : "Normal";
}
