// @ts-check
// Numbers and times as text. Formatters are made once: making one costs more than a thousand uses.

const MINUS = "−";
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const significant = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const LAST_DATE_S = 8.64e12;

export const UNKNOWN = "–";

/** @param {string} digits @returns {string} with a real minus, and none on a zero */
const signed = (digits) => (/^-[0.]+$/.test(digits) ? digits.slice(1) : digits.replace("-", MINUS));

/** @param {Intl.NumberFormat} format @returns {(value: number|null|undefined) => string} */
const using = (format) => (value) =>
  value === null || value === undefined || Number.isNaN(value) ? UNKNOWN : signed(format.format(value));

export const count = using(whole);
export const decimal = using(tenth);
export const figures = using(significant);

/** @param {number|null} value @param {string} unit @param {(value: number|null) => string} [format] */
export const withUnit = (value, unit, format = count) => (value === null ? UNKNOWN : `${format(value)} ${unit}`);

/** @param {number|null} share 0 to 1 */
export function percent(share) {
  if (share === null || Number.isNaN(share)) return UNKNOWN;
  return `${share > 0 && share < 0.1 ? decimal(share * 100) : count(share * 100)} %`;
}

/** @param {number|null} seconds */
export function duration(seconds) {
  if (seconds === null || Number.isNaN(seconds)) return UNKNOWN;
  if (seconds < 1) return `${count(seconds * 1000)} ms`;
  if (seconds < 10) return `${decimal(seconds)} s`;
  if (seconds < 90) return `${count(seconds)} s`;
  if (seconds < 5400) return `${count(seconds / 60)} min`;
  return `${count(seconds / 3600)} h`;
}

/** @param {number} seconds @returns {string} without fractions: an age that is watched */
export function span(seconds) {
  if (seconds < 90) return `${count(Math.floor(seconds))} s`;
  return duration(seconds);
}

/** @param {number} seconds @returns {string} */
export const ago = (seconds) => (seconds < 2 ? "now" : `${span(seconds)} ago`);

/** @param {Intl.DateTimeFormat} format @returns {(timeS: number|null) => string} */
const at = (format) => (timeS) =>
  timeS === null || Math.abs(timeS) > LAST_DATE_S ? UNKNOWN : format.format(timeS * 1000);

export const clockTime = at(clock);
export const dateTime = at(moment);
