// @ts-check
// What was done about an episode, in words. Pure.
import { clockTime, count } from "./format.js";

/** @typedef {import("../state/records/handling.js").Handling} Handling */
/** @typedef {import("../state/records/handling.js").Action} Action */

const LABELS = new Map([["trueAlarm", "True alarm"], ["falseAlarm", "False alarm"], ["expected", "Expected"]]);

/** @param {string} label */
export const labelName = (label) => LABELS.get(label) ?? label;

/** @param {Handling} handling @returns {string} empty where nothing was done */
export function handlingInWords(handling) {
  const parts = [];
  if (handling.status === "snoozed" && handling.snoozedUntilS !== null) parts.push(`Snoozed until ${clockTime(handling.snoozedUntilS)}`);
  if (handling.status === "acknowledged") parts.push("Acknowledged");
  if (handling.assignee !== null) parts.push(`With ${handling.assignee}`);
  if (handling.label !== null) parts.push(labelName(handling.label));
  if (handling.comments > 0) parts.push(handling.comments === 1 ? "1 comment" : `${count(handling.comments)} comments`);
  return parts.join(" · ");
}

/** @param {Action} action @returns {string} */
function deed({ kind, what, untilS }) {
  if (kind === "acknowledge") return "acknowledged it";
  if (kind === "assign") return what === null ? "gave it to nobody" : `gave it to ${what}`;
  if (kind === "label") return what === null ? "took the label back" : `called it: ${labelName(what).toLowerCase()}`;
  if (kind === "snooze") return untilS === null ? "snoozed it" : `snoozed it until ${clockTime(untilS)}`;
  if (kind === "reopen") return "opened it again";
  return kind === "comment" && what !== null ? `wrote: ${what}` : kind;
}

/** @param {Action} action @returns {string} */
export const actionInWords = (action) => `${clockTime(action.atS)} · ${action.by} ${deed(action)}`;
