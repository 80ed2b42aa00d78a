// @ts-check
// What part of the map is seen: between the unit square (mercator.js) and the pixels of a view. Pure.

/** @typedef {{left: number, top: number, right: number, bottom: number}} Box */

const LEAST_SCALE = 256; // pixels for the whole world
const MOST_SCALE = 2 ** 28;
const SMALLEST_FIT = 2e-5; // of the world: about 650 m at the latitude of Córdoba

export class Camera {
  x = 0.5;
  y = 0.5;
  scale = 512;
  width = 1;
  height = 1;

  /** @param {number} width @param {number} height */
  resize(width, height) {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
  }

  /** @param {number} x */
  toPixelX(x) {
    return (x - this.x) * this.scale + this.width / 2;
  }

  /** @param {number} y */
  toPixelY(y) {
    return (y - this.y) * this.scale + this.height / 2;
  }

  /** @param {number} pixelX */
  toMapX(pixelX) {
    return (pixelX - this.width / 2) / this.scale + this.x;
  }

  /** @param {number} pixelY */
  toMapY(pixelY) {
    return (pixelY - this.height / 2) / this.scale + this.y;
  }

  /** @param {number} pixelsX @param {number} pixelsY how far the ground moves */
  pan(pixelsX, pixelsY) {
    this.x -= pixelsX / this.scale;
    this.y -= pixelsY / this.scale;
  }

  /** @param {number} factor @param {number} pixelX @param {number} pixelY what stays where it is */
  zoom(factor, pixelX, pixelY) {
    const [x, y] = [this.toMapX(pixelX), this.toMapY(pixelY)];
    this.scale = Math.max(LEAST_SCALE, Math.min(MOST_SCALE, this.scale * factor));
    this.x = x - (pixelX - this.width / 2) / this.scale;
    this.y = y - (pixelY - this.height / 2) / this.scale;
  }

  /** @param {Box} box @param {number} margin pixels */
  fit(box, margin) {
    const across = Math.max(box.right - box.left, SMALLEST_FIT);
    const down = Math.max(box.bottom - box.top, SMALLEST_FIT);
    const [width, height] = [Math.max(40, this.width - 2 * margin), Math.max(40, this.height - 2 * margin)];
    this.scale = Math.max(LEAST_SCALE, Math.min(MOST_SCALE, width / across, height / down));
    this.x = (box.left + box.right) / 2;
    this.y = (box.top + box.bottom) / 2;
  }

  /**
   * Whether a box is seen well enough to leave the view as it is: a view that follows every vehicle never rests.
   * @param {Box} box @returns {boolean}
   */
  shows(box) {
    const [left, right] = [this.toPixelX(box.left), this.toPixelX(box.right)];
    const [top, bottom] = [this.toPixelY(box.top), this.toPixelY(box.bottom)];
    if (left < 0 || top < 0 || right > this.width || bottom > this.height) return false;
    const least = SMALLEST_FIT * this.scale; // a lone vehicle has no extent
    return Math.max(right - left, least) / this.width >= 0.5 || Math.max(bottom - top, least) / this.height >= 0.5;
  }
}
