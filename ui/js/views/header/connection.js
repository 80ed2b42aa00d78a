// @ts-check
// The connection in words. The phase alone is a live region: a countdown read out each second would drown a
// screen reader.
import { span } from "../../words/format.js";
import { byId, partsOf, setAttribute, setHidden, setText } from "../drawing/dom.js";

/** @typedef {import("../../net/feed.js").FeedStatus} FeedStatus */

const WORDS = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting" };
const QUIET_AFTER_S = 5;

export class ConnectionView {
  #root = byId("connection");
  #parts = partsOf(this.#root);

  /** @param {() => FeedStatus} status @param {() => number|null} lastEventS @param {() => void} retry */
  constructor(status, lastEventS, retry) {
    this.status = status;
    this.lastEventS = lastEventS;
    this.#parts.retry.addEventListener("click", retry);
  }

  /** @param {number} nowS */
  paint(nowS) {
    const status = this.status();
    setAttribute(this.#root, "data-phase", status.phase);
    setText(this.#parts.phase, WORDS[status.phase]);
    setText(this.#parts.detail, this.#detail(status, nowS));
    setAttribute(this.#root, "title", status.reason);
    setHidden(this.#parts.retry, status.phase !== "reconnecting" || status.retryAtMs === 0);
  }

  /** @param {FeedStatus} status @param {number} nowS */
  #detail(status, nowS) {
    if (status.phase === "reconnecting") {
      const waitS = status.retryAtMs / 1000 - nowS;
      return waitS > 0 ? `in ${Math.ceil(waitS)} s` : "…";
    }
    const lastS = this.lastEventS();
    const quietS = lastS === null ? 0 : nowS - lastS;
    return status.phase === "live" && quietS > QUIET_AFTER_S ? `no events for ${span(quietS)}` : "";
  }
}
