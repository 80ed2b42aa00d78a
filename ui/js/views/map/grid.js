// @ts-check
// Degrees and metres: the graticule under the map, and its scale.
import { latitudeAt, longitudeAt, mapX, mapY, metresPerUnit } from "../../state/map/mercator.js";

/** @typedef {import("../../state/map/camera.js").Camera} Camera */

const LEAST_GAP = 110; // pixels between two lines
const STEPS = [1, 2, 5];

/** @param {number} least @returns {number} the next of 1, 2, 5 times a power of ten */
export function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return (STEPS.find((step) => step * power >= least) ?? 10) * power;
}

/** @param {number} degrees @param {number} step @param {string} positive @param {string} negative */
function label(degrees, step, positive, negative) {
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return `${Math.abs(degrees).toFixed(digits)}° ${degrees < 0 ? negative : positive}`;
}

/** @param {CanvasRenderingContext2D} context @param {Camera} camera @param {{line: string, text: string, font: string}} look */
export function paintGrid(context, camera, look) {
  const step = niceStep((LEAST_GAP / camera.scale) * 360);
  context.fillStyle = look.line;
  const [west, east] = [longitudeAt(camera.toMapX(0)), longitudeAt(camera.toMapX(camera.width))];
  const [north, south] = [latitudeAt(camera.toMapY(0)), latitudeAt(camera.toMapY(camera.height))];
  const columns = lines(west, east, step).map((lon) => ({ at: Math.round(camera.toPixelX(mapX(lon))), text: label(lon, step, "E", "W") }));
  const rows = lines(south, north, step).map((lat) => ({ at: Math.round(camera.toPixelY(mapY(lat))), text: label(lat, step, "N", "S") }));
  for (const { at } of columns) context.fillRect(at, 0, 1, camera.height);
  for (const { at } of rows) context.fillRect(0, at, camera.width, 1);
  context.fillStyle = look.text;
  context.font = look.font;
  context.textBaseline = "alphabetic";
  for (const { at, text } of columns) if (at > 150 && at < camera.width - 130) context.fillText(text, at + 4, camera.height - 8);
  for (const { at, text } of rows) if (at > 60 && at < camera.height - 60) context.fillText(text, 6, at - 4);
}

/** @param {number} from @param {number} to @param {number} step @returns {number[]} */
function lines(from, to, step) {
  const first = Math.ceil(from / step);
  const count = Math.max(0, Math.min(60, Math.floor(to / step) - first + 1));
  return Array.from({ length: count }, (_, i) => (first + i) * step);
}

/** @param {Camera} camera @param {number} most pixels @returns {{pixels: number, text: string}} */
export function scaleBar(camera, most) {
  const metresPerPixel = metresPerUnit(camera.y) / camera.scale;
  const room = niceStep((most * metresPerPixel) / 2.5);
  const text = room >= 1000 ? `${room / 1000} km` : `${room} m`;
  return { pixels: room / metresPerPixel, text };
}
