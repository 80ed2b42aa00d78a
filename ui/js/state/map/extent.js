// @ts-check
// Where most of the fleet is: a vehicle whose GPS says Null Island must not shrink the city to a dot.

/** @typedef {import("./camera.js").Box} Box */

const SAMPLE = 2000;
const DEVIATIONS = 6; // about four standard deviations of a bell; a uniform square lies within two
const LEAST_DEVIATION = 1e-6; // of the world, about 35 m

/** @param {number[]} sorted ascending, not empty */
const median = (sorted) => sorted[Math.floor(sorted.length / 2)];

/** @param {number[]} values @returns {[number, number]} what is not an outlier */
function bounds(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = median(sorted);
  const away = sorted.map((value) => Math.abs(value - middle)).sort((a, b) => a - b);
  const reach = DEVIATIONS * Math.max(LEAST_DEVIATION, median(away));
  return [middle - reach, middle + reach];
}

/**
 * @param {Float64Array} x @param {Float64Array} y positions, NaN where unknown @param {number} end rows in use
 * @returns {Box|null} null when nothing has a position
 */
export function extentOf(x, y, end) {
  const stride = Math.max(1, Math.floor(end / SAMPLE));
  const rows = [];
  for (let row = 0; row < end; row += stride) if (!Number.isNaN(x[row])) rows.push(row);
  if (rows.length === 0) return null;
  const [left, right] = bounds(rows.map((row) => x[row]));
  const [top, bottom] = bounds(rows.map((row) => y[row]));
  const near = rows.filter((row) => x[row] >= left && x[row] <= right && y[row] >= top && y[row] <= bottom);
  const kept = near.length > 0 ? near : rows;
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const row of kept) {
    box.left = Math.min(box.left, x[row]);
    box.right = Math.max(box.right, x[row]);
    box.top = Math.min(box.top, y[row]);
    box.bottom = Math.max(box.bottom, y[row]);
  }
  return box;
}
