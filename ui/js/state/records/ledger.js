// @ts-check
// The books of the pipeline: what became of the records that were read, by partition and in all. The gateway counts
// each number by itself, so that they can disagree; here it is found out whether they do.
import { fieldsOf, finite } from "./checked.js";

/**
 * @typedef {object} Entry
 * @property {number|null} partition null for all of them
 * @property {number} read records polled from Kafka, up to the last commit
 * @property {number} scored
 * @property {number} deadLettered
 * @property {number} inFlight polled, not committed yet
 * @property {number|null} lag in the log beyond the committed offset; what is in flight is among it
 * @property {number|null} oldestS age of the oldest event without a committed verdict
 * @property {number} difference what was read and is nowhere; less than 0: more came out than was read
 */
/** @typedef {{total: Entry, partitions: Entry[], readAtS: number|null}} Ledger */

export const STALE_AFTER_S = 15; // the gateway asks Kafka once a second

/** @param {Record<string, unknown>} told @param {number|null} partition @returns {Entry|null} null where a number of the equation lacks */
function readEntry(told, partition) {
  const [read, scored, deadLettered, inFlight] = ["read", "scored", "deadLettered", "inFlight"].map((name) => finite(told[name]));
  if (read === null || scored === null || deadLettered === null || inFlight === null) return null;
  const difference = read - scored - deadLettered - inFlight;
  const [lag, oldestS] = [finite(told.lag), finite(told.oldestUnscoredSeconds)];
  return { partition, read, scored, deadLettered, inFlight, lag, oldestS, difference };
}

/** @param {unknown} answer of v1/pipeline @returns {Ledger|null} null where the gateway cannot say */
export function readLedger(answer) {
  const told = fieldsOf(answer);
  const total = readEntry(told, null);
  if (total === null) return null;
  const partitions = (Array.isArray(told.partitions) ? told.partitions : [])
    .map(fieldsOf)
    .map((part) => readEntry(part, finite(part.partition)))
    .filter((entry) => entry !== null)
    .filter(({ partition }) => partition !== null)
    .sort((a, b) => Number(a.partition) - Number(b.partition));
  return { total, partitions, readAtS: finite(told.ledgerReadAt) };
}

/**
 * Partition by partition: what is missing in one must not make up for what is too much in another.
 * @param {Ledger} ledger @returns {Entry[]} where the books do not balance
 */
export function unbalanced({ total, partitions }) {
  const found = partitions.filter(({ difference }) => difference !== 0);
  return found.length > 0 || total.difference === 0 ? found : [total];
}

/** @param {Ledger} ledger @param {number} serverNowS @returns {boolean} whether Kafka has left the gateway without news */
export const isStale = ({ readAtS }, serverNowS) => readAtS !== null && serverNowS - readAtS > STALE_AFTER_S;
