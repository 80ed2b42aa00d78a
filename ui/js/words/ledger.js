// @ts-check
// Whether the books balance, in words.
import { isStale, unbalanced } from "../state/records/ledger.js";
import { clockTime, count } from "./format.js";

/** @typedef {import("../state/records/ledger.js").Entry} Entry */
/** @typedef {import("../state/records/ledger.js").Ledger} Ledger */
/** @typedef {{mood: "unknown"|"balanced"|"unbalanced", text: string, problem: string}} Balance the problem may be empty */

const MOST_NAMED = 3;

/** @param {Entry[]} entries @returns {string} e.g. "partitions 2 and 5" */
function places(entries) {
  const numbers = entries.map(({ partition }) => partition);
  if (numbers.includes(null)) return "the total";
  if (numbers.length === 1) return `partition ${numbers[0]}`;
  const named = numbers.slice(0, numbers.length > MOST_NAMED ? MOST_NAMED : -1).join(", ");
  const rest = numbers.length - MOST_NAMED;
  return `partitions ${named} and ${rest > 0 ? `${rest} more` : numbers[numbers.length - 1]}`;
}

/** @param {Entry[]} wrong @returns {Entry[][]} those that miss some and those that have some too many, as far as there are */
const byKind = (wrong) =>
  [wrong.filter(({ difference }) => difference > 0), wrong.filter(({ difference }) => difference < 0)].filter((kind) => kind.length > 0);

/** @param {Entry[]} kind @returns {string} */
function amount(kind) {
  const difference = kind.reduce((sum, entry) => sum + entry.difference, 0);
  return difference > 0 ? `${count(difference)} missing` : `${count(-difference)} too many`;
}

/** @param {Entry[]} kind */
const imbalance = (kind) => `${amount(kind)} in ${places(kind)}`;

/** @param {Entry[]} wrong where the books do not balance, out of those that are spoken of @returns {string} */
export const balanceInWords = (wrong) => (wrong.length === 0 ? "Balances" : byKind(wrong).map(amount).join(", "));

/**
 * What can be said now. Texts stay the same for as long as they hold: they are read out when they change.
 * @param {Ledger|null} ledger @param {number} serverNowS @returns {Balance}
 */
export function ledgerInWords(ledger, serverNowS) {
  if (ledger === null) return { mood: "unknown", text: "Books not known yet", problem: "Kafka has not told the gateway its counts yet." };
  const stale = isStale(ledger, serverNowS);
  const problem = stale ? `Kafka has told the gateway no counts since ${clockTime(ledger.readAtS)}.` : "";
  const wrong = unbalanced(ledger);
  if (wrong.length > 0) return { mood: "unbalanced", text: `Books do not balance: ${byKind(wrong).map(imbalance).join(", ")}`, problem };
  return stale ? { mood: "unknown", text: "Books not known at the moment", problem } : { mood: "balanced", text: "Books balance", problem };
}

/** @param {boolean} growing whether events come whose record has no key @returns {string} what to do, empty where there is nothing */
export const keylessInWords = (growing) =>
  growing ? "Records come without a key, so a vehicle's events lose their order. Set the record's key to vehicleId." : "";
