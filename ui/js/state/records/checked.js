// @ts-check
// Values that came from outside, checked: null for what is missing or of another type.

/** @param {unknown} value @returns {number|null} */
export const finite = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** @param {unknown} value @returns {string|null} */
export const text = (value) => (typeof value === "string" && value !== "" ? value : null);

/** @param {unknown} value @returns {Record<string, unknown>} its fields, none where it is no object */
export const fieldsOf = (value) =>
  typeof value === "object" && value !== null ? /** @type {Record<string, unknown>} */ (value) : {};
