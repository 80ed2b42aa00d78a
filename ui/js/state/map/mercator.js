// @ts-check
// Web Mercator on the unit square: x grows east, y grows south, one turn of the earth is 1.

const EARTH_M = 40_075_016.7;
const LAST_LATITUDE = 85.0511;

/** @param {number} longitude degrees */
export const mapX = (longitude) => longitude / 360 + 0.5;

/** @param {number} latitude degrees */
export function mapY(latitude) {
  const radians = (Math.max(-LAST_LATITUDE, Math.min(LAST_LATITUDE, latitude)) * Math.PI) / 180;
  return 0.5 - Math.log(Math.tan(Math.PI / 4 + radians / 2)) / (2 * Math.PI);
}

/** @param {number} y @returns {number} degrees */
export const latitudeAt = (y) => ((Math.atan(Math.exp((0.5 - y) * 2 * Math.PI)) - Math.PI / 4) * 360) / Math.PI;

/** @param {number} x @returns {number} degrees */
export const longitudeAt = (x) => (x - 0.5) * 360;

/** @param {number} y @returns {number} metres on the ground per unit of the map at that height */
export const metresPerUnit = (y) => EARTH_M * Math.cos((latitudeAt(y) * Math.PI) / 180);
