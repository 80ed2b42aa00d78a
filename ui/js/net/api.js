// @ts-check
// The REST calls of the page. An answer that is not one becomes an ApiError with a sentence to show; the answers'
// Date headers tell whether this computer's clock and the server's agree.

const TIMEOUT_MS = 8_000;
const SKEWS_KEPT = 5;

export class ApiError extends Error {
  /** @param {number} status HTTP status; 0 when the server was not reached @param {string} detail */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** @param {Response} response @returns {Promise<string>} */
async function problem(response) {
  const body = await response.json().catch(() => null);
  return typeof body?.detail === "string" ? body.detail : `The server answered ${response.status}.`;
}

/**
 * How far the server's clock is ahead, as far as that is certain: its Date header has whole seconds, and it was
 * written at some time between question and answer.
 * @param {number} saidMs @param {number} askedMs @param {number} answeredMs
 */
export function clockSkewMs(saidMs, askedMs, answeredMs) {
  const ahead = saidMs + 500 - (askedMs + answeredMs) / 2;
  const doubt = (answeredMs - askedMs) / 2 + 500;
  return Math.sign(ahead) * Math.max(0, Math.abs(ahead) - doubt);
}

export class Api {
  /** @type {(aheadS: number) => unknown} */ onClockSkew = () => undefined;
  #base;
  /** @type {number[]} */ #skewsMs = [];

  /** @param {string} base the page's own address */
  constructor(base) {
    this.#base = base;
  }

  /** @param {string} path relative to the page @param {number} [timeoutMs] @returns {Promise<Record<string, unknown>>} */
  get(path, timeoutMs = TIMEOUT_MS) {
    return this.#ask(path, {}, timeoutMs);
  }

  /**
   * @param {string} path @param {RequestInit} options of fetch @param {number} timeoutMs
   * @returns {Promise<Record<string, unknown>>}
   */
  async #ask(path, options, timeoutMs) {
    const signal = AbortSignal.timeout(timeoutMs);
    const askedMs = Date.now();
    const response = await fetch(new URL(path, this.#base), { signal, cache: "no-store", ...options }).catch(() => null);
    if (!response) throw new ApiError(0, "The server does not answer.");
    this.#compareClocks(response, askedMs);
    if (!response.ok) throw new ApiError(response.status, await problem(response));
    return response.json().catch(() => {
      throw new ApiError(response.status, "The server's answer is not JSON.");
    });
  }

  /** @param {Response} response @param {number} askedMs */
  #compareClocks(response, askedMs) {
    const saidMs = Date.parse(response.headers.get("date") ?? "");
    if (!Number.isFinite(saidMs)) return;
    this.#skewsMs = [...this.#skewsMs, clockSkewMs(saidMs, askedMs, Date.now())].slice(-SKEWS_KEPT);
    // A busy server may send a header that is seconds old; a clock that is wrong is wrong in every answer.
    const leastMs = this.#skewsMs.reduce((least, skew) => (Math.abs(skew) < Math.abs(least) ? skew : least));
    this.onClockSkew(leastMs / 1000);
  }

  /** @returns {Promise<Record<string, unknown>>} who is signed in; refused with 401 where nobody is */
  session() {
    return this.get("v1/session");
  }

  /** @param {string} token @returns {Promise<Record<string, unknown>>} who is signed in from now on */
  signIn(token) {
    const headers = { "Content-Type": "application/json" };
    return this.#ask("v1/session", { method: "POST", headers, body: JSON.stringify({ token }) }, TIMEOUT_MS);
  }

  /** @param {number} limit @returns {Promise<unknown[]>} scored events, the latest of each vehicle */
  async vehicles(limit) {
    const { vehicles } = await this.get(`v1/vehicles?limit=${limit}`);
    return Array.isArray(vehicles) ? vehicles : [];
  }

  /** @param {string} vehicleId @returns {Promise<{latest?: unknown, history?: unknown}>} */
  vehicle(vehicleId) {
    return this.get(`v1/vehicles/${encodeURIComponent(vehicleId)}`);
  }

  /**
   * @param {{state?: "open"|"closed", vehicleId?: string, limit: number}} wanted
   * @returns {Promise<unknown[]>} episodes, the one that changed last first
   */
  async episodes({ state, vehicleId, limit }) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (state !== undefined) query.set("state", state);
    if (vehicleId !== undefined) query.set("vehicleId", vehicleId);
    const { episodes } = await this.get(`v1/episodes?${query}`);
    return Array.isArray(episodes) ? episodes : [];
  }

  /** @param {string} vehicleId @returns {Promise<unknown>} what has been learnt of its sender; nothing for some minutes */
  async sender(vehicleId) {
    const { senders } = await this.get(`v1/senders?vehicleId=${encodeURIComponent(vehicleId)}`);
    return Array.isArray(senders) ? senders[0] : null;
  }

  /** @param {string} episodeId @returns {Promise<unknown>} all that was done about it, the first action first */
  async story(episodeId) {
    return (await this.get(`v1/episodes/${encodeURIComponent(episodeId)}`)).actions;
  }

  /**
   * Does something about an episode.
   * @param {string} episodeId @param {number} version how many actions are known @param {Record<string, unknown>} what
   * @returns {Promise<unknown>} all that was done about it
   */
  async act(episodeId, version, what) {
    // Not `randomUUID`: browsers have it on secure pages alone, and this one may be served without TLS.
    const actionId = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const headers = { "Content-Type": "application/json" };
    const options = { method: "POST", headers, body: JSON.stringify({ actionId, version, do: what }) };
    return (await this.#ask(`v1/episodes/${encodeURIComponent(episodeId)}/actions`, options, TIMEOUT_MS)).actions;
  }

  /** @returns {Promise<unknown>} the fields of the events, as the served model's specification describes them */
  async channels() {
    return (await this.get("v1/channels")).channels;
  }

  /** @param {number} [timeoutMs] @returns {Promise<Record<string, unknown>>} */
  pipeline(timeoutMs) {
    return this.get("v1/pipeline", timeoutMs);
  }
}
