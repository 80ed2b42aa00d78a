// @ts-check
// Tells a quiet fleet from a dead socket. A browser cannot ping, and a socket whose other end vanished stays
// open for minutes. So when no frame has come for a while the server is asked over REST: it does not answer, or
// it has scored events that never came here, twice in a row: the socket is dead.

/** @typedef {{reachable: boolean, scored: number|null}} Probe */

const QUIET_AFTER_MS = 8_000;
const PROBE_EVERY_MS = 3_000;
const STRIKES = 2;

export class Liveness {
  #open = false;
  #lastFrameMs = 0;
  #lastProbeMs = 0;
  #probing = false;
  #strikes = 0;
  /** @type {number|null} */ #scored = null;
  #probe;
  #onDead;

  /** @param {() => Promise<Probe>} probe @param {(reason: string) => void} onDead */
  constructor(probe, onDead) {
    this.#probe = probe;
    this.#onDead = onDead;
  }

  /** @param {number} nowMs */
  opened(nowMs) {
    this.#open = true;
    this.frame(nowMs);
  }

  closed() {
    this.#open = false;
  }

  /** @param {number} nowMs */
  frame(nowMs) {
    this.#lastFrameMs = nowMs;
    this.#strikes = 0;
    this.#scored = null;
  }

  /**
   * To be called every second or so, and with `suspect` after sleep or a change of network.
   * @param {number} nowMs @param {boolean} [suspect] asks at once
   */
  async check(nowMs, suspect = false) {
    const quiet = this.#strikes > 0 || nowMs - this.#lastFrameMs >= QUIET_AFTER_MS;
    const due = quiet && nowMs - this.#lastProbeMs >= PROBE_EVERY_MS;
    if (!this.#open || this.#probing || !(due || suspect)) return;
    this.#probing = true;
    this.#lastProbeMs = nowMs;
    const askedAfterFrameMs = this.#lastFrameMs;
    const probe = await this.#probe();
    this.#probing = false;
    if (this.#open && this.#lastFrameMs === askedAfterFrameMs) this.#weigh(probe);
  }

  /** @param {Probe} probe */
  #weigh(probe) {
    const passedBy = probe.scored !== null && this.#scored !== null && probe.scored > this.#scored;
    this.#scored = probe.scored ?? this.#scored;
    this.#strikes = !probe.reachable || passedBy ? this.#strikes + 1 : 0;
    if (this.#strikes < STRIKES) return;
    this.#open = false;
    this.#onDead(probe.reachable ? "Events flow, but none reached this page." : "The server does not answer.");
  }
}
