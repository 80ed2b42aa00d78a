// @ts-check
// Where traffic has been, as cells of about twenty metres: from them the map draws the streets that no tile
// server has to provide. Two generations of bounded size; when the young one is full, the old one is forgotten.

const CELLS_PER_TURN = 2 ** 21;

export class Traces {
  #young = new Set();
  #old = new Set();
  version = 0;

  /** @param {number} capacity cells */
  constructor(capacity) {
    this.generation = Math.floor(capacity / 2);
  }

  get size() {
    return this.#young.size + this.#old.size;
  }

  /** @param {number} x @param {number} y on the unit square, see mercator.js */
  add(x, y) {
    const cell = Math.floor(x * CELLS_PER_TURN) + Math.floor(y * CELLS_PER_TURN) * CELLS_PER_TURN;
    if (this.#young.has(cell)) return;
    if (this.#young.size >= this.generation) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(cell);
    if (!this.#old.delete(cell)) this.version += 1;
  }

  /** @param {(x: number, y: number) => void} visit the middle of each cell */
  forEach(visit) {
    const each = (/** @type {number} */ cell) =>
      visit(((cell % CELLS_PER_TURN) + 0.5) / CELLS_PER_TURN, (Math.floor(cell / CELLS_PER_TURN) + 0.5) / CELLS_PER_TURN);
    this.#old.forEach(each);
    this.#young.forEach(each);
  }
}
