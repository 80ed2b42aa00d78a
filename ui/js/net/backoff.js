// @ts-check
// How long to wait before the next attempt: doubling from half a second, never above ten, and spread at random
// so that a thousand pages do not come back in the same instant.

const FIRST_MS = 500;
const LONGEST_MS = 10_000;

/** @param {number} attempt failed attempts so far, from 0 @param {() => number} random in [0, 1) @returns {number} ms */
export function delayMs(attempt, random) {
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return ceiling / 2 + (random() * ceiling) / 2;
}
