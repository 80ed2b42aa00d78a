// @ts-check
// What has been learnt of a vehicle's sender, checked at the edge. Pure. Before it: net/api; after it: state/chosen.
import { fieldsOf, finite, text } from "./checked.js";

/**
 * @typedef {object} Sender
 * @property {number} events
 * @property {number} repeats
 * @property {number} late
 * @property {number} deadLetters
 * @property {number|null} intervalS from event to event while the vehicle moves
 * @property {number|null} standingIntervalS likewise while it stands
 * @property {number|null} delayS from an event to its append
 * @property {string[]} findings what is odd, a sentence each
 * @property {string[]} missing signals that it has never sent
 */

/** @param {unknown} raw @returns {Sender|null} null for what is no report */
export function readSender(raw) {
  const record = fieldsOf(raw);
  const events = finite(record.events);
  if (events === null) return null;
  const findings = Array.isArray(record.findings) ? record.findings : [];
  return {
    events,
    repeats: finite(record.repeats) ?? 0,
    late: finite(record.late) ?? 0,
    deadLetters: finite(record.deadLetters) ?? 0,
    intervalS: finite(record.interval),
    standingIntervalS: finite(record.intervalStanding),
    delayS: finite(record.delay),
    findings: findings.map((finding) => text(fieldsOf(finding).detail)).filter((detail) => detail !== null),
    missing: Object.entries(fieldsOf(record.signals)).filter(([, signal]) => fieldsOf(signal).sent === 0).map(([name]) => name),
  };
}
