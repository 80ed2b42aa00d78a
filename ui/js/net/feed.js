// @ts-check
// The socket alone: connects, reads frames, and comes back by itself when it is cut. It knows neither the page
// nor what an event means. Socket, clock, timers and randomness are passed in.
import { delayMs } from "./backoff.js";

/** @typedef {{phase: "connecting"|"live"|"reconnecting", retryAtMs: number, reason: string}} FeedStatus */
/**
 * @typedef {object} FeedParts
 * @property {(url: string) => WebSocket} open
 * @property {() => number} nowMs
 * @property {() => number} random
 * @property {(run: () => void, ms: number) => number} setTimer
 * @property {(timer: number|undefined) => void} clearTimer
 * @property {(events: unknown[]) => void} onEvents one frame's events
 * @property {(status: FeedStatus) => void} onStatus
 */

const OPEN_WITHIN_MS = 10_000;

export class Feed {
  malformedFrames = 0;
  /** @type {FeedStatus} */ status = { phase: "connecting", retryAtMs: 0, reason: "" };
  /** @type {WebSocket|null} */ #socket = null;
  /** @type {number|undefined} */ #timer;
  #attempt = 0;
  #url;
  #parts;

  /** @param {string} url @param {FeedParts} parts */
  constructor(url, parts) {
    this.#url = url;
    this.#parts = parts;
  }

  start() {
    this.#say({ phase: this.#attempt === 0 ? "connecting" : "reconnecting", retryAtMs: 0, reason: this.status.reason });
    const socket = this.#parts.open(this.#url);
    this.#socket = socket;
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = (message) => this.#frame(socket, message.data);
    socket.onclose = (event) => this.#lost(socket, event.reason || "The connection was closed.");
    this.#restartTimer(() => this.#lost(socket, "The server did not answer in time."), OPEN_WITHIN_MS);
  }

  /** Leaves a socket that only seems alive, without waiting for its closing handshake. @param {string} reason */
  cut(reason) {
    if (this.#socket) this.#lost(this.#socket, reason);
  }

  /** Ends the wait for the next attempt. */
  retryNow() {
    if (this.#socket === null) this.start();
  }

  /** @param {WebSocket} socket */
  #opened(socket) {
    if (socket !== this.#socket) return;
    this.#parts.clearTimer(this.#timer);
    this.#say({ phase: "live", retryAtMs: 0, reason: "" });
  }

  /** @param {WebSocket} socket @param {unknown} data */
  #frame(socket, data) {
    if (socket !== this.#socket) return;
    this.#attempt = 0; // not at opening: a server that accepts and drops at once must still be spared
    const events = this.#parse(data);
    if (events) this.#parts.onEvents(events);
  }

  /** @param {unknown} data @returns {unknown[]|null} */
  #parse(data) {
    try {
      const parsed = JSON.parse(/** @type {string} */ (data));
      return Array.isArray(parsed) ? parsed : [parsed];
    } catch {
      this.malformedFrames += 1;
      return null;
    }
  }

  /** @param {WebSocket} socket @param {string} reason */
  #lost(socket, reason) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    const waitMs = delayMs(this.#attempt, this.#parts.random);
    this.#attempt += 1;
    this.#say({ phase: "reconnecting", retryAtMs: this.#parts.nowMs() + waitMs, reason });
    this.#restartTimer(() => this.start(), waitMs);
  }

  /** @param {() => void} run @param {number} ms */
  #restartTimer(run, ms) {
    this.#parts.clearTimer(this.#timer);
    this.#timer = this.#parts.setTimer(run, ms);
  }

  /** @param {FeedStatus} status */
  #say(status) {
    this.status = status;
    this.#parts.onStatus(status);
  }
}
