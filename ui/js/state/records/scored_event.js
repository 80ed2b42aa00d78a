// @ts-check
// One scored event, checked once at the edge: everything behind this module trusts these fields. A field that
// is missing or of another type is null. Before it: net/feed and net/api; after it: state/fleet.
import { fieldsOf, finite, text } from "./checked.js";

/**
 * @typedef {object} ScoredEvent
 * @property {string} vehicleId
 * @property {number|null} timeS event time, Unix seconds
 * @property {number|null} latitude degrees
 * @property {number|null} longitude degrees
 * @property {number|null} speedKmh
 * @property {number|null} speedLimitKmh
 * @property {number|null} accelerationKmh change since the previous event
 * @property {number|null} temperatureC of the engine
 * @property {number|null} batteryPercent
 * @property {number|null} fuelPercent
 * @property {number|null} trafficLevel 1 to 5
 * @property {number|null} error reconstruction error
 * @property {number|null} threshold above it the event is anomalous
 * @property {boolean} isAnomaly
 * @property {number|null} severity 0 to 1
 * @property {string|null} cause the detector's name for what is wrong
 * @property {boolean} warmingUp
 * @property {boolean} repeat
 * @property {number|null} appendedAtS Unix seconds
 * @property {number|null} scoredAtS Unix seconds
 * @property {string|null} source partition:offset
 * @property {string|null} episodeId the open episode that it belongs to
 * @property {Record<string, unknown>} raw the event as it came
 */

const LONGEST_ID = 256;

/**
 * Unix seconds of an event's timestamp: a number, or ISO-8601 text, which is UTC unless it says otherwise.
 * @param {unknown} value @returns {number|null}
 */
export function timestampS(value) {
  if (typeof value !== "string") return finite(value);
  const zoned = /(Z|[+-]\d\d:?\d\d)$/i.test(value) || !value.includes(":") ? value : `${value}Z`;
  return finite(Date.parse(zoned) / 1000);
}

/** @param {unknown} value @param {number} limit */
function degrees(value, limit) {
  const number = finite(value);
  return number !== null && Math.abs(number) <= limit ? number : null;
}

/**
 * @param {unknown} raw one element of a frame or of a REST answer
 * @returns {ScoredEvent|null} null for what is not an event
 */
export function readEvent(raw) {
  const event = fieldsOf(raw);
  const { vehicleId } = event;
  if (typeof vehicleId !== "string" || vehicleId === "" || vehicleId.length > LONGEST_ID) return null;
  return {
    vehicleId,
    timeS: timestampS(event.timestamp),
    latitude: degrees(event.latitude, 90),
    longitude: degrees(event.longitude, 180),
    speedKmh: finite(event.speed),
    speedLimitKmh: finite(event.speedLimit),
    accelerationKmh: finite(event.acceleration),
    temperatureC: finite(event.temperature),
    batteryPercent: finite(event.battery),
    fuelPercent: finite(event.fuelLevel),
    trafficLevel: finite(event.trafficLevel),
    error: finite(event.reconstruction_error),
    threshold: finite(event.anomaly_threshold),
    isAnomaly: event.is_anomaly === true,
    severity: finite(event.severity),
    cause: text(event.anomalyType),
    warmingUp: event.warmingUp === true,
    repeat: event.repeat === true,
    appendedAtS: finite(event.appendedAt),
    scoredAtS: finite(event.scoredAt),
    source: text(event.source),
    episodeId: text(event.episodeId),
    raw: event,
  };
}
