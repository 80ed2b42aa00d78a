// @ts-check
// The anomalies in red: what goes on now, and what has been. While the list is read its order is held.
import { ONGOING_FOR_S } from "../state/anomalies.js";
import { count } from "../words/format.js";
import { byId, partsOf, setHidden, setText } from "./dom.js";
import { KeyedList } from "./keyed_list.js";
import { holdWhileRead } from "./reading_hold.js";
import { createRow, updateRow } from "./stretch_row.js";

/** @typedef {import("../state/anomalies.js").Stretch} Stretch */
/** @typedef {import("../state/fleet.js").FleetState} FleetState */

const ROWS_WIDE = 100;
const ROWS_NARROW = 10;

export class AnomalyList {
  #parts = partsOf(byId("anomalies"));
  #order = /** @type {HTMLSelectElement} */ (byId("anomaly-order"));
  #narrow = matchMedia("(max-width: 1023px)");
  #showAll = false;
  /** @type {Stretch[]} */ #held = [];
  #heldS = 0;
  #nowS = 0;

  /** @param {FleetState} state @param {(vehicleId: string) => void} choose @param {() => void} requestPaint */
  constructor(state, choose, requestPaint) {
    this.state = state;
    const list = (/** @type {string} */ part) =>
      new KeyedList(this.#parts[part], createRow, (row, /** @type {Stretch} */ stretch) =>
        updateRow(row, stretch, this.#nowS, state.chosen.vehicleId),
      );
    this.ongoing = list("ongoing");
    this.earlier = list("earlier");
    this.isHeld = holdWhileRead(this.#parts.scroll, requestPaint);
    this.#parts.scroll.addEventListener("click", (event) => {
      const button = /** @type {HTMLElement} */ (event.target).closest("[data-vehicle]");
      if (button) choose(/** @type {string} */ (/** @type {HTMLElement} */ (button).dataset.vehicle));
    });
    const reorder = () => {
      this.#held = [];
      requestPaint();
    };
    this.#order.addEventListener("change", reorder);
    this.#parts.more.addEventListener("click", () => {
      this.#showAll = true;
      reorder();
    });
  }

  /** @param {number} nowS */
  paint(nowS) {
    this.#nowS = nowS;
    const held = this.isHeld() && this.#held.length > 0;
    const order = /** @type {"time"|"severity"} */ (this.#order.value);
    if (!held) [this.#held, this.#heldS] = [this.state.anomalies.list(nowS, order), nowS];
    setHidden(this.#parts.held, !held);
    this.#rows(this.#held, this.#heldS);
  }

  /** @param {Stretch[]} stretches @param {number} orderedS when their order was made */
  #rows(stretches, orderedS) {
    const limit = this.#narrow.matches && !this.#showAll ? ROWS_NARROW : ROWS_WIDE;
    const shown = stretches.slice(0, limit).map((item) => ({ key: item.key, item }));
    const isOngoing = (/** @type {Stretch} */ stretch) => orderedS - stretch.lastS < ONGOING_FOR_S;
    const ongoing = stretches.filter(isOngoing).length;
    this.#group("ongoing", shown.filter(({ item }) => isOngoing(item)), ongoing);
    this.#group("earlier", shown.filter(({ item }) => !isOngoing(item)), stretches.length - ongoing);
    setHidden(this.#parts.none, stretches.length > 0);
    this.#more(stretches.length - shown.length);
  }

  /** @param {"ongoing"|"earlier"} name @param {{key: string, item: Stretch}[]} shown @param {number} size with those not shown */
  #group(name, shown, size) {
    this[name].paint(shown);
    setHidden(this.#parts[`${name}-title`], shown.length === 0);
    setText(this.#parts[`${name}-count`], count(size));
  }

  /** @param {number} hidden */
  #more(hidden) {
    setHidden(this.#parts.more, hidden <= 0 || this.#showAll || !this.#narrow.matches);
    setText(this.#parts.more, `Show ${count(hidden)} more`);
  }
}
