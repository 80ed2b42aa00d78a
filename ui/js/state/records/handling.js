// @ts-check
// What was done about an episode, checked at the edge. Pure. Before it: net/api; after it: state/records/episode.
import { fieldsOf, finite, text } from "./checked.js";

/**
 * @typedef {object} Handling
 * @property {number} version how many actions there are
 * @property {string} status "new", "acknowledged" or "snoozed"
 * @property {string|null} assignee
 * @property {string|null} label "trueAlarm", "falseAlarm" or "expected"
 * @property {number|null} snoozedUntilS Unix seconds
 * @property {number} comments
 */

/**
 * @typedef {object} Action
 * @property {string} by
 * @property {number} atS Unix seconds
 * @property {string} kind
 * @property {string|null} what the assignee, the label or the text
 * @property {number|null} untilS of a snooze
 */

/** @type {Handling} */
export const UNTOUCHED = { version: 0, status: "new", assignee: null, label: null, snoozedUntilS: null, comments: 0 };

/** @param {unknown} raw @returns {Handling} */
export function readHandling(raw) {
  const record = fieldsOf(raw);
  const version = finite(record.version);
  if (version === null) return UNTOUCHED;
  return {
    version,
    status: text(record.status) ?? "new",
    assignee: text(record.assignee),
    label: text(record.label),
    snoozedUntilS: finite(record.snoozedUntil),
    comments: finite(record.comments) ?? 0,
  };
}

/** @param {unknown} raw @returns {Action|null} */
function readAction(raw) {
  const record = fieldsOf(raw);
  const done = fieldsOf(record.do);
  const [by, atS, kind] = [text(record.by), finite(record.at), text(done.kind)];
  if (by === null || atS === null || kind === null) return null;
  return { by, atS, kind, what: text(done.assignee) ?? text(done.label) ?? text(done.text), untilS: finite(done.until) };
}

/** @param {unknown} raws @returns {Action[]} the first one first */
export const readActions = (raws) => (Array.isArray(raws) ? raws : []).map(readAction).filter((action) => action !== null);
