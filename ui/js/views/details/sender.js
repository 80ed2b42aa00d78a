// @ts-check
// The chosen vehicle's sender, as rows of the details.
import { count, span } from "../../words/format.js";
import { humanise } from "../../words/phrases.js";

/** @typedef {import("./fields.js").Fields} Fields */
/** @typedef {import("../../state/records/sender.js").Sender} Sender */

/** @param {number|null} seconds */
const often = (seconds) => (seconds === null ? "Not known" : seconds < 10 ? `${seconds.toFixed(1)} s` : span(seconds));

/** @param {Sender} sender @returns {Fields} */
export function senderFields(sender) {
  /** @type {Fields} */
  const fields = sender.findings.map((detail) => ["Finding", detail, true]);
  fields.push(["Reports every", often(sender.intervalS)]);
  if (sender.standingIntervalS !== null) fields.push(["While it stands", often(sender.standingIntervalS)]);
  fields.push(["Usual delay", often(sender.delayS)], ["Events", count(sender.events)]);
  if (sender.repeats > 0) fields.push(["Sent before", count(sender.repeats)]);
  if (sender.late > 0) fields.push(["Came late", count(sender.late)]);
  if (sender.deadLetters > 0) fields.push(["Dead letters", count(sender.deadLetters)]);
  if (sender.missing.length > 0) fields.push(["Never sent", sender.missing.map(humanise).join(", ")]);
  return fields;
}
