// @ts-check
// One episode's record, checked at the edge. Pure. Before it: net/api; after it: state/episodes and state/chosen.
import { fieldsOf, finite, text } from "./checked.js";
import { readHandling } from "./handling.js";

/**
 * @typedef {object} Episode
 * @property {string} id
 * @property {string} vehicleId
 * @property {boolean} open
 * @property {number} openedAtS event time, as are the others; Unix seconds
 * @property {number} updatedAtS of the latest event that the record knows
 * @property {string|null} cause
 * @property {number|null} severity the largest so far, 0 to 1
 * @property {number|null} peakError
 * @property {number} events since `openedAtS`
 * @property {number} anomalousEvents
 * @property {string[]} worst sources of the events with the largest errors
 * @property {string|null} closedBy "recovery" or "silence"
 * @property {import("./handling.js").Handling} handling what was done about it
 * @property {number|null} usualPauseS of a silence: how long the vehicle's pauses were before it
 */

const MOST_WORST = 3;

/** @param {unknown} raw @returns {Episode|null} null for what is no episode */
export function readEpisode(raw) {
  const record = fieldsOf(raw);
  const [id, vehicleId, openedAtS] = [text(record.episodeId), text(record.vehicleId), finite(record.openedAt)];
  if (id === null || vehicleId === null || openedAtS === null) return null;
  return {
    id,
    vehicleId,
    open: record.state === "open",
    openedAtS,
    updatedAtS: finite(record.updatedAt) ?? openedAtS,
    cause: text(record.cause),
    severity: finite(record.severity),
    peakError: finite(record.peakError),
    events: finite(record.events) ?? 0,
    anomalousEvents: finite(record.anomalousEvents) ?? 0,
    worst: (Array.isArray(record.worst) ? record.worst : []).filter((source) => text(source)).slice(0, MOST_WORST),
    closedBy: text(record.closedBy),
    handling: readHandling(record.handling),
    usualPauseS: finite(record.usualPause),
  };
}

/** @param {unknown[]} raws @returns {Episode[]} */
export const readEpisodes = (raws) => raws.map(readEpisode).filter((episode) => episode !== null);
