// @ts-check
// Says how old the page is while nothing comes in, over everything that would look as if it were live.
import { clockTime } from "../../words/format.js";
import { byId, setAttribute, setHidden, setText } from "../drawing/dom.js";

/** @typedef {import("../../net/feed.js").FeedStatus} FeedStatus */

// A connection that comes back at once is nothing to read.
const AFTER_S = 2;

export class StaleBanner {
  #banner = byId("stale");
  /** @type {number|null} */ #sinceS = null;

  /** @param {() => FeedStatus} status @param {() => number|null} lastEventS when the last event came, Unix seconds */
  constructor(status, lastEventS) {
    this.status = status;
    this.lastEventS = lastEventS;
  }

  /** @param {number} nowS */
  paint(nowS) {
    const lastS = this.lastEventS();
    const isLive = this.status().phase === "live" || lastS === null;
    this.#sinceS = isLive ? null : (this.#sinceS ?? nowS);
    const isStale = this.#sinceS !== null && nowS - this.#sinceS >= AFTER_S;
    setAttribute(document.documentElement, "data-stale", isStale ? "" : null);
    setHidden(this.#banner, !isStale);
    if (isStale && lastS !== null) setText(this.#banner, `No connection. Data from ${clockTime(lastS)}`);
  }
}
