// @ts-check
// A chosen vehicle's latest event as names and values in words. Pure.
import { clockTime, count, dateTime, decimal, duration, figures, percent, UNKNOWN, withUnit } from "../../words/format.js";
import { errorRatio, humanise, times } from "../../words/phrases.js";

/** @typedef {import("../../state/reading.js").Reading} Reading */
/** @typedef {import("../../state/channels.js").Channel} Channel */
/** @typedef {[name: string, value: string, isOutside?: boolean][]} Fields */

const MOST_OTHER_FIELDS = 40;
const LONGEST_VALUE = 300;
const SHOWN_ELSEWHERE = new Set(
  (
    "vehicleId timestamp tenantId anomaly anomalyType reconstruction_error anomaly_threshold is_anomaly severity " +
    "contributions modelVersion warmingUp repeat episodeId source appendedAt ingestedAt scoredAt truth"
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

/** @param {Reading} r @returns {string} */
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

/** @param {Reading} r @param {Channel} channel @returns {Fields[number]} */
function field(r, { name, label, unit, range }) {
  const value = r.raw[name];
  if (typeof value !== "number") return [label, plain(value)];
  const isOutside = range !== null && (value < range[0] || value > range[1]);
  const bounds = isOutside ? `, outside ${count(range[0])} to ${count(range[1])}` : "";
  return [label, `${measured(value, unit)}${bounds}`, isOutside];
}

/**
 * @param {Reading} r @param {Channel[]} channels what the fleet's events carry; empty where it is not known
 * @returns {Fields}
 */
export function signals(r, channels) {
  if (!channels.length) return builtIn(r);
  const measurements = channels.filter(({ name }) => !isPosition(name));
  /** @type {Fields} */
  const where = measurements.length < channels.length ? [["Position", position(r)]] : [];
  return [["Event time", dateTime(r.timeS)], ...measurements.map((channel) => field(r, channel)), ...where];
}

/** @param {string} name */
const isPosition = (name) => name === "latitude" || name === "longitude";

/** @param {Reading} r @returns {Fields} */
const builtIn = (r) => [
  ["Event time", dateTime(r.timeS)],
  ["Position", position(r)],
  ["Speed", withUnit(r.speedKmh, "km/h", decimal)],
  ["Speed limit", withUnit(r.speedLimitKmh, "km/h")],
  ["Previous speed", raw(r.raw.previousSpeed, "km/h")],
  ["Change of speed", withUnit(r.accelerationKmh, "km/h", decimal)],
  ["Engine", withUnit(r.temperatureC, "°C", decimal)],
  ["Battery", withUnit(r.batteryPercent, "%", decimal)],
  ["Fuel", withUnit(r.fuelPercent, "%", decimal)],
  ["Weather", plain(r.raw.weather)],
  ["Road", plain(r.raw.roadType)],
  ["Night", plain(r.raw.night)],
  ["Traffic", r.trafficLevel === null ? UNKNOWN : `${count(r.trafficLevel)} of 5`],
];

/** @param {Reading} r @returns {Fields} */
export function verdictFields(r) {
  const ratio = errorRatio(r);
  return [
    ["Error", r.error === null ? UNKNOWN : `${figures(r.error)}${ratio === null ? "" : ` (${times(ratio)} threshold)`}`],
    ["Threshold", figures(r.threshold)],
    ["Severity", percent(r.severity)],
    ["Cause", plain(r.cause)],
    ["Warming up", plain(r.warmingUp)],
    ["Repeated event", plain(r.repeat)],
    ["Episode", plain(r.raw.episodeId)],
    ["Model", plain(r.raw.modelVersion)],
  ];
}

/** @param {Reading} r @returns {Fields|null} null where the record carried no ground truth */
export function truth(r) {
  const said = /** @type {Record<string, unknown>|null} */ (r.raw.truth);
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

/** @param {Reading} r @returns {Fields} */
export const way = (r) => [
  ["Appended to Kafka", clockTime(r.appendedAtS)],
  ["Ingested", later(r.raw.ingestedAt, r.appendedAtS)],
  ["Scored", later(r.raw.scoredAt, typeof r.raw.ingestedAt === "number" ? r.raw.ingestedAt : r.appendedAtS)],
  ["Partition and offset", plain(r.source)],
  ["Tenant", plain(r.raw.tenantId)],
];

/**
 * @param {Reading} r @param {Channel[]} channels
 * @returns {Fields} what the sender added of its own, under its own names
 */
export function others(r, channels) {
  const listed = channels.length ? new Set(channels.map(({ name }) => name)) : BUILT_IN_SIGNALS;
  return Object.entries(r.raw)
    .filter(([name]) => !SHOWN_ELSEWHERE.has(name) && !listed.has(name))
    .slice(0, MOST_OTHER_FIELDS)
    .map(([name, value]) => [name.slice(0, LONGEST_VALUE), plain(value)]);
}
