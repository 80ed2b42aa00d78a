// @ts-check
// Sums by second of arrival over the last few minutes, in fixed arrays: the trend lines' memory. A slot is
// cleared when its second comes round again, so nothing has to run while nothing arrives.

export class SecondBuckets {
  #second;
  /** @type {Map<string, Float64Array>} */ #sums = new Map();

  /** @param {number} seconds how far back @param {string[]} names the sums kept */
  constructor(seconds, names) {
    this.seconds = seconds;
    this.#second = new Float64Array(seconds).fill(-1);
    for (const name of names) this.#sums.set(name, new Float64Array(seconds));
  }

  /** @param {string} name @returns {Float64Array} */
  #column(name) {
    const column = this.#sums.get(name);
    if (!column) throw new Error(`No sum is called ${name}; name it where the buckets are made.`);
    return column;
  }

  /** @param {number} second whole Unix second @returns {number} its slot, cleared if it held an older second */
  #slot(second) {
    const slot = second % this.seconds;
    if (this.#second[slot] !== second) {
      this.#second[slot] = second;
      for (const column of this.#sums.values()) column[slot] = 0;
    }
    return slot;
  }

  /** @param {number} second @param {string} name @param {number} amount */
  add(second, name, amount) {
    const slot = this.#slot(second);
    this.#column(name)[slot] += amount;
  }

  /** @param {number} second @param {string} name @param {number} value keeps the largest */
  max(second, name, value) {
    const slot = this.#slot(second);
    const column = this.#column(name);
    if (value > column[slot]) column[slot] = value;
  }

  /** @param {number} second @param {string} name @returns {number|null} null when nothing arrived in it */
  at(second, name) {
    const slot = second % this.seconds;
    return this.#second[slot] === second ? this.#column(name)[slot] : null;
  }
}
