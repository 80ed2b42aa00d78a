// @ts-check
// The episodes: what goes on now in red, and what has been. While the list is read its order is held.
import { count } from "../../words/format.js";
import { byId, partsOf, setHidden, setText } from "../drawing/dom.js";
import { KeyedList } from "../drawing/keyed_list.js";
import { createRow, updateRow } from "./episode_row.js";
import { holdWhileRead } from "./reading_hold.js";

/** @typedef {import("../../state/records/episode.js").Episode} Episode */
/** @typedef {import("../../state/fleet.js").FleetState} FleetState */
/** @typedef {{open: Episode[], closed: Episode[]}} Lists */

export const MOST_OPEN = 500;
export const MOST_CLOSED = 100;
const ROWS_WIDE = 100;
const ROWS_NARROW = 10;

export class EpisodeList {
  #parts = partsOf(byId("anomalies"));
  #order = /** @type {HTMLSelectElement} */ (byId("anomaly-order"));
  #status = /** @type {HTMLSelectElement} */ (byId("anomaly-status"));
  #narrow = matchMedia("(max-width: 1023px)");
  #showAll = false;
  /** @type {Lists|null} */ #shown = null;

  /** @param {FleetState} state @param {(vehicleId: string) => void} choose @param {() => void} requestPaint */
  constructor(state, choose, requestPaint) {
    this.state = state;
    const list = (/** @type {string} */ part) =>
      new KeyedList(this.#parts[part], createRow, (row, /** @type {Episode} */ episode) => updateRow(row, episode, state));
    this.open = list("open");
    this.closed = list("closed");
    this.isHeld = holdWhileRead(this.#parts.scroll, requestPaint);
    this.#parts.scroll.addEventListener("click", (event) => {
      const button = /** @type {HTMLElement} */ (event.target).closest("[data-vehicle]");
      if (button) choose(/** @type {string} */ (/** @type {HTMLElement} */ (button).dataset.vehicle));
    });
    const reorder = () => {
      this.#shown = null;
      requestPaint();
    };
    this.#order.addEventListener("change", reorder);
    this.#status.addEventListener("change", reorder);
    this.#parts.more.addEventListener("click", () => {
      this.#showAll = true;
      reorder();
    });
  }

  paint() {
    const order = /** @type {"time"|"severity"} */ (this.#order.value);
    const known = this.state.episodes.list(order, this.#status.value);
    const held = this.isHeld() && this.#shown !== null;
    if (!held) this.#shown = known;
    setHidden(this.#parts.held, !held);
    this.#rows(/** @type {Lists} */ (this.#shown), new Map([...known.open, ...known.closed].map((e) => [e.id, e])));
    const none = this.#status.value === "current" ? "No anomaly is known." : "There is none of these.";
    setText(this.#parts.none, this.state.episodes.loaded ? none : "Loading…");
  }

  /** @param {Lists} lists in the order and the groups to show @param {Map<string, Episode>} latest by id */
  #rows({ open, closed }, latest) {
    const limit = this.#narrow.matches && !this.#showAll ? ROWS_NARROW : ROWS_WIDE;
    const current = (/** @type {Episode} */ episode) => latest.get(episode.id) ?? episode;
    const openRows = open.slice(0, limit).map(current);
    const closedRows = closed.slice(0, limit - openRows.length).map(current);
    this.#group("open", openRows, open.length, MOST_OPEN);
    this.#group("closed", closedRows, closed.length, MOST_CLOSED);
    setHidden(this.#parts.none, open.length + closed.length > 0);
    this.#more(open.length + closed.length - openRows.length - closedRows.length);
  }

  /** @param {"open"|"closed"} name @param {Episode[]} shown @param {number} known @param {number} most that are asked for */
  #group(name, shown, known, most) {
    this[name].paint(shown.map((item) => ({ key: item.id, item })));
    setHidden(this.#parts[`${name}-title`], shown.length === 0);
    setText(this.#parts[`${name}-count`], known < most ? count(known) : `${count(most)} and more`);
  }

  /** @param {number} hidden */
  #more(hidden) {
    setHidden(this.#parts.more, hidden <= 0 || this.#showAll || !this.#narrow.matches);
    setText(this.#parts.more, `Show ${count(hidden)} more`);
  }
}
