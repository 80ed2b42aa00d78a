// @ts-check
// The REST calls of the page. An answer that is not one becomes an ApiError with a sentence to show; the answers'
// Date headers tell whether this computer's clock and the server's agree.

const TIMEOUT_MS = 8_000;

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

export class Api {
  /** @type {(aheadS: number) => unknown} */ onClockSkew = () => undefined;
  #base;

  /** @param {string} base the page's own address */
  constructor(base) {
    this.#base = base;
  }

  /** @param {string} path relative to the page @param {number} [timeoutMs] @returns {Promise<any>} */
  async get(path, timeoutMs = TIMEOUT_MS) {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(new URL(path, this.#base), { signal, cache: "no-store" }).catch(() => null);
    if (!response) throw new ApiError(0, "The server does not answer.");
    this.#compareClocks(response);
    if (!response.ok) throw new ApiError(response.status, await problem(response));
    return response.json().catch(() => {
      throw new ApiError(response.status, "The server's answer is not JSON.");
    });
  }

  /** @param {Response} response */
  #compareClocks(response) {
    const saidMs = Date.parse(response.headers.get("date") ?? "");
    // The header has whole seconds: half a second is its middle.
    if (Number.isFinite(saidMs)) this.onClockSkew((saidMs + 500 - Date.now()) / 1000);
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

  /** @param {number} [timeoutMs] @returns {Promise<Record<string, any>>} */
  pipeline(timeoutMs) {
    return this.get("v1/pipeline", timeoutMs);
  }
}
