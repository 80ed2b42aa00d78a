// @ts-check
// The ledger by partition, behind the strip's button. What is closed is not painted.
import { unbalanced } from "../../state/records/ledger.js";
import { count, duration } from "../../words/format.js";
import { balanceInWords } from "../../words/ledger.js";
import { instance, partsOf, setAttribute, setText } from "../drawing/dom.js";
import { KeyedList } from "../drawing/keyed_list.js";

/** @typedef {import("../../state/records/ledger.js").Entry} Entry */
/** @typedef {import("../../state/records/ledger.js").Ledger} Ledger */

/** @typedef {{entry: Entry, wrong: Entry[]}} Row an entry, and which of those that it stands for do not balance */

/** @param {Row} row @returns {Record<string, string>} the text of each cell */
const cells = ({ entry, wrong }) => ({
  partition: entry.partition === null ? "All" : String(entry.partition),
  read: count(entry.read),
  scored: count(entry.scored),
  dead: count(entry.deadLettered),
  flight: count(entry.inFlight),
  balance: balanceInWords(wrong),
  lag: count(entry.lag),
  oldest: duration(entry.oldestS),
});

/** @param {Ledger} ledger @returns {Row[]} */
function rowsOf(ledger) {
  const of = (/** @type {Entry} */ entry) => ({ entry, wrong: entry.difference === 0 ? [] : [entry] });
  return [{ entry: ledger.total, wrong: unbalanced(ledger) }, ...ledger.partitions.map(of)];
}

/** @param {HTMLElement} element @param {Row} row */
function paintRow(element, row) {
  const parts = partsOf(element);
  setAttribute(element, "data-unbalanced", row.wrong.length > 0 ? "" : null);
  for (const [name, text] of Object.entries(cells(row))) setText(parts[name], text);
}

export class LedgerTable {
  #button;
  #panel;
  #rows;
  /** @type {Ledger|null} */ #ledger = null;

  /** @param {HTMLElement} button @param {HTMLElement} panel @param {HTMLElement} rows */
  constructor(button, panel, rows) {
    this.#button = button;
    this.#panel = panel;
    this.#rows = new KeyedList(rows, () => instance("ledger-row"), paintRow);
    button.addEventListener("click", () => this.#open(Boolean(panel.hidden)));
    for (const element of [button, panel]) element.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {Ledger|null} ledger */
  paint(ledger) {
    this.#ledger = ledger;
    if (this.#panel.hidden) return;
    const rows = ledger ? rowsOf(ledger) : [];
    this.#rows.paint(rows.map((item) => ({ key: String(item.entry.partition), item })));
  }

  /** @param {boolean} open */
  #open(open) {
    this.#panel.hidden = !open;
    setAttribute(this.#button, "aria-expanded", String(open));
    this.paint(this.#ledger);
    if (open) this.#panel.scrollIntoView({ block: "nearest" });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== "Escape" || this.#panel.hidden) return;
    event.preventDefault();
    this.#open(false);
    this.#button.focus();
  }
}
