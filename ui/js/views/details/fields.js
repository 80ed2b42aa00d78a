// @ts-check
// A chosen vehicle's latest event as names and values in words. Pure.
import { clockTime, count, dateTime, decimal, duration, figures, percent, UNKNOWN, withUnit } from "../../words/format.js";
import { errorRatio, humanise, times } from "../../words/phrases.js";

/** @typedef {import("../../state/records/scored_event.js").ScoredEvent} ScoredEvent */
/** @typedef {import("../../state/records/channels.js").Channel} Channel */
/** @typedef {[name: string, value: string, isOutside?: boolean][]} Fields */

const MOST_OTHER_FIELDS = 40;
const LONGEST_VALUE = 300;
const SHOWN_ELSEWHERE = new Set(
  (
    "vehicleId timestamp tenantId anomaly anomalyType reconstruction_error anomaly_threshold is_anomaly severity " +
    "contributions expected modelVersion warmingUp repeat episodeId source appendedAt ingestedAt scoredAt truth"
  ).split(" "),
);
const BUILT_IN_SIGNALS = new Set(
  (
    "latitude longitude speed previousSpeed acceleration temperature battery fuelLevel weather roadType speedLimit " +
    "night trafficLevel"
  ).split(" "),
);
// Below it, tenths would hide what small units (g, bar) tell.
const SMALL = 10;

/** @param {unknown} value @returns {string} */
export function plain(value) {
  if (value === null || value === undefined || value === "") return UNKNOWN;
  if (typeof value === "boolean") return value ? "Yes" : "No";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE)}…` : text;
}

/** @param {unknown} value @param {string} unit */
const raw = (value, unit) => withUnit(typeof value === "number" ? value : null, unit, decimal);

/** @param {ScoredEvent} event @returns {string} */
function position({ latitude, longitude }) {
  if (latitude === null || longitude === null) return UNKNOWN;
  const [northing, easting] = [latitude < 0 ? "S" : "N", longitude < 0 ? "W" : "E"];
  return `${Math.abs(latitude).toFixed(5)}° ${northing}, ${Math.abs(longitude).toFixed(5)}° ${easting}`;
}

/** @param {number} value @param {string} unit */
const measured = (value, unit) => {
  const digits = Math.abs(value) < SMALL ? figures(value) : decimal(value);
  return unit ? `${digits} ${unit}` : digits;
};

/** @param {ScoredEvent} event @param {Channel} channel @returns {Fields[number]} */
function field(event, { name, label, unit, range }) {
  const value = event.raw[name];
  if (typeof value !== "number") return [label, plain(value)];
  const isOutside = range !== null && (value < range[0] || value > range[1]);
  const bounds = isOutside ? `, outside ${count(range[0])} to ${count(range[1])}` : "";
  return [label, `${measured(value, unit)}${bounds}`, isOutside];
}

/**
 * @param {ScoredEvent} event @param {Channel[]} channels what the fleet's events carry; empty where it is not known
 * @returns {Fields}
 */
export function signals(event, channels) {
  if (!channels.length) return builtIn(event);
  const measurements = channels.filter(({ name }) => !isPosition(name));
  /** @type {Fields} */
  const where = measurements.length < channels.length ? [["Position", position(event)]] : [];
  return [["Event time", dateTime(event.timeS)], ...measurements.map((channel) => field(event, channel)), ...where];
}

/** @param {string} name */
const isPosition = (name) => name === "latitude" || name === "longitude";

/** @param {ScoredEvent} event @returns {Fields} */
const builtIn = (event) => [
  ["Event time", dateTime(event.timeS)],
  ["Position", position(event)],
  ["Speed", withUnit(event.speedKmh, "km/h", decimal)],
  ["Speed limit", withUnit(event.speedLimitKmh, "km/h")],
  ["Previous speed", raw(event.raw.previousSpeed, "km/h")],
  ["Change of speed", withUnit(event.accelerationKmh, "km/h", decimal)],
  ["Engine", withUnit(event.temperatureC, "°C", decimal)],
  ["Battery", withUnit(event.batteryPercent, "%", decimal)],
  ["Fuel", withUnit(event.fuelPercent, "%", decimal)],
  ["Weather", plain(event.raw.weather)],
  ["Road", plain(event.raw.roadType)],
  ["Night", plain(event.raw.night)],
  ["Traffic", event.trafficLevel === null ? UNKNOWN : `${count(event.trafficLevel)} of 5`],
];

/** @param {ScoredEvent} event @returns {Fields} */
export function verdictFields(event) {
  const ratio = errorRatio(event);
  return [
    ["Error", event.error === null ? UNKNOWN : `${figures(event.error)}${ratio === null ? "" : ` (${times(ratio)} threshold)`}`],
    ["Threshold", figures(event.threshold)],
    ["Severity", percent(event.severity)],
    ["Cause", plain(event.cause)],
    ["Warming up", plain(event.warmingUp)],
    ["Repeated event", plain(event.repeat)],
    ["Episode", plain(event.raw.episodeId)],
    ["Model", plain(event.raw.modelVersion)],
  ];
}

/** @param {ScoredEvent} event @returns {Fields|null} null where the record carried no ground truth */
export function truth(event) {
  const said = /** @type {Record<string, unknown>|null} */ (event.raw.truth);
  if (typeof said !== "object" || said === null) return null;
  return [
    ["Anomalous", plain(said.anomaly)],
    ["Fault", typeof said.anomalyType === "string" ? humanise(said.anomalyType) : UNKNOWN],
  ];
}

/** @param {unknown} at @param {number|null} before Unix seconds */
function later(at, before) {
  const timeS = typeof at === "number" ? at : null;
  const sinceS = timeS === null || before === null ? null : Math.max(0, timeS - before);
  return sinceS === null ? clockTime(timeS) : `${clockTime(timeS)}, ${duration(sinceS)} later`;
}

/** @param {ScoredEvent} event @returns {Fields} */
export const way = (event) => [
  ["Appended to Kafka", clockTime(event.appendedAtS)],
  ["Ingested", later(event.raw.ingestedAt, event.appendedAtS)],
  ["Scored", later(event.raw.scoredAt, typeof event.raw.ingestedAt === "number" ? event.raw.ingestedAt : event.appendedAtS)],
  ["Partition and offset", plain(event.source)],
  ["Tenant", plain(event.raw.tenantId)],
];

/**
 * @param {ScoredEvent} event @param {Channel[]} channels
 * @returns {Fields} what the sender added of its own, under its own names
 */
export function others(event, channels) {
  const listed = channels.length ? new Set(channels.map(({ name }) => name)) : BUILT_IN_SIGNALS;
  return Object.entries(event.raw)
    .filter(([name]) => !SHOWN_ELSEWHERE.has(name) && !listed.has(name))
    .slice(0, MOST_OTHER_FIELDS)
    .map(([name, value]) => [name.slice(0, LONGEST_VALUE), plain(value)]);
}
