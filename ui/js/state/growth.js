// @ts-check
// Whether a count that never falls has grown of late: what is over needs no notice.

const RECENT_S = 60;

export class Growth {
  /** @type {number|null} */ #last = null;
  #grewS = -Infinity;

  /** @param {number|null} counted null where it is not known @param {number} nowS */
  note(counted, nowS) {
    if (counted === null) return;
    if (this.#last !== null && counted > this.#last) this.#grewS = nowS;
    this.#last = counted;
  }

  /** @param {number} nowS */
  isRecent(nowS) {
    return nowS - this.#grewS < RECENT_S;
  }
}
