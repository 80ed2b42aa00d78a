// @ts-check
// The last N things, newest last; adding to a full ring forgets the oldest.

/** @template T */
export class Ring {
  /** @type {T[]} */ #items = [];
  #next = 0;

  /** @param {number} capacity */
  constructor(capacity) {
    this.capacity = capacity;
  }

  get length() {
    return this.#items.length;
  }

  /** @param {T} item */
  push(item) {
    this.#items[this.#next] = item;
    this.#next = (this.#next + 1) % this.capacity;
  }

  /** @returns {T[]} oldest first */
  toArray() {
    const full = this.#items.length === this.capacity;
    return full ? [...this.#items.slice(this.#next), ...this.#items.slice(0, this.#next)] : [...this.#items];
  }

  /** @param {number} count @returns {T[]} newest first */
  newest(count) {
    const size = this.#items.length;
    const wanted = Math.min(count, size);
    return Array.from({ length: wanted }, (_, back) => this.#items[(this.#next - 1 - back + 2 * size) % size]);
  }

  clear() {
    this.#items = [];
    this.#next = 0;
  }
}
