// @ts-check
// The pipeline in one line: whether its books balance, the equation, and its other figures. When they cannot be had,
// the last ones stay, paler, with the reason.
import { fieldsOf, finite } from "../../state/records/checked.js";
import { Growth } from "../../state/growth.js";
import { readLedger } from "../../state/records/ledger.js";
import { count, decimal, duration } from "../../words/format.js";
import { keylessInWords, ledgerInWords } from "../../words/ledger.js";
import { byId, make, partsOf, setAttribute, setHidden, setText } from "../drawing/dom.js";
import { LedgerTable } from "./ledger_table.js";

/** @typedef {import("../../state/records/ledger.js").Ledger} Ledger */
/** @typedef {{name: string, value: string, words?: boolean, sign?: string, mood?: string, title?: string, absent?: boolean}} Item */

/** @param {unknown} latencyMs its quantiles @returns {string} */
function latency(latencyMs) {
  const { p50, p95, p99 } = fieldsOf(latencyMs);
  const spread = [p50, p95, p99].map(finite);
  if (spread.every((ms) => ms === null)) return "–";
  return `${spread.map((ms) => (ms !== null && ms < 10 ? decimal(ms) : count(ms))).join(" / ")} ms`;
}

/** @param {unknown} replicas @returns {string} e.g. "ingest 2, scorer 1" */
function replicaCounts(replicas) {
  if (typeof replicas !== "object" || replicas === null) return "";
  const counts = Object.entries(replicas).filter(([, running]) => finite(running) !== null);
  return counts.map(([name, running]) => `${name.toLowerCase()} ${count(running)}`).join(", ");
}

/**
 * @param {Record<string, unknown>} p the answer of v1/pipeline
 * @param {boolean} equal whether the books balance in all, as far as is known
 * @returns {Item[]}
 */
export function items(p, equal) {
  const [oldestS, deadLettered, keyless, dropped] = [p.oldestUnscoredSeconds, p.deadLettered, p.keyless, p.dropped].map(finite);
  const all = [
    { name: "Read", value: count(finite(p.read)) },
    { name: "Scored", value: count(finite(p.scored)), sign: equal ? "=" : "≠" },
    { name: "Dead letters", value: count(deadLettered), sign: "+", mood: (deadLettered ?? 0) > 0 ? "worry" : "" },
    { name: "In flight", value: count(finite(p.inFlight)), sign: "+", title: "Read, but not committed yet" },
    { name: "Without a key", value: count(keyless), absent: !keyless, mood: "worry", title: "Senders set the record's key to vehicleId, or a vehicle loses its order" },
    { name: "Lag", value: count(finite(p.lag)), title: "Behind the end of Kafka's log, what is in flight included" },
    { name: "Oldest unscored", value: duration(oldestS), mood: oldestS !== null && oldestS > 10 ? "bad" : "" },
    { name: "p50 / p95 / p99", value: latency(p.latencyMs), title: "From Kafka's append to the gateway" },
    { name: "Dropped for slow clients", value: count(dropped), absent: !dropped, mood: "worry" },
    { name: "Replicas", value: replicaCounts(p.replicas), words: true },
    { name: "Model", value: typeof p.modelVersion === "string" ? p.modelVersion : "", words: true },
  ];
  return all.filter(({ value, absent }) => value !== "" && !absent);
}

export class PipelineStrip {
  #root = byId("pipeline");
  #parts = partsOf(this.#root);
  #table = new LedgerTable(this.#parts.books, this.#parts.ledger, this.#parts.rows);
  /** @type {Ledger|null} */ #ledger = null;
  #keyless = new Growth();
  /** @type {Map<string, number>} width that a figure has needed, in digits */ #widths = new Map();
  #serverNowS;

  /** @param {() => number} serverNowS */
  constructor(serverNowS) {
    this.#serverNowS = serverNowS;
  }

  /** @param {Record<string, unknown>} pipeline */
  show(pipeline) {
    this.#ledger = readLedger(pipeline);
    this.#keyless.note(finite(pipeline.keyless), this.#serverNowS());
    this.#say(this.#books().problem, keylessInWords(this.#keyless.isRecent(this.#serverNowS())));
    const wanted = items(pipeline, !this.#ledger?.total.difference);
    const list = this.#parts.figures;
    while (list.childElementCount > wanted.length) list.lastElementChild?.remove();
    wanted.forEach((item, i) => this.#item(/** @type {HTMLElement|undefined} */ (list.children[i]) ?? this.#add(), item));
    this.#table.paint(this.#ledger);
  }

  /** @param {Error} error */
  fail(error) {
    this.#books();
    this.#say(`No pipeline figures at the moment: ${error.message}`);
  }

  #books() {
    const books = ledgerInWords(this.#ledger, this.#serverNowS());
    setAttribute(this.#root, "data-books", books.mood);
    setText(this.#parts.balance, books.text);
    setText(this.#parts.said, books.text);
    return books;
  }

  /** @param {string} problem why the figures are old, empty where they are not @param {string} [notice] what to do, said without one */
  #say(problem, notice = "") {
    setAttribute(this.#root, "data-state", problem ? "stale" : "fresh");
    setHidden(this.#parts.problem, !problem && !notice);
    setText(this.#parts.problem, problem || notice);
    setAttribute(this.#parts.problem, "title", problem || notice || null);
  }

  #add() {
    const item = make("div");
    item.append(make("dt"), make("dd"));
    this.#parts.figures.append(item);
    return item;
  }

  /** @param {HTMLElement} element @param {Item} item */
  #item(element, { name, value, words, sign, mood, title }) {
    const figure = /** @type {HTMLElement} */ (element.lastElementChild);
    setText(/** @type {HTMLElement} */ (element.firstElementChild), name);
    setText(figure, value);
    if (!words) this.#keepWidth(figure, name, value);
    setAttribute(element, "data-sign", sign ?? null);
    setAttribute(element, "class", mood || null);
    setAttribute(element, "title", title ?? null);
  }

  /** What follows must not jump when a number gets shorter. @param {HTMLElement} figure @param {string} name @param {string} value */
  #keepWidth(figure, name, value) {
    const narrow = value.length - value.replace(/[,./ ]/g, "").length;
    const widest = Math.max(value.length - narrow / 2, this.#widths.get(name) ?? 0);
    this.#widths.set(name, widest);
    const minWidth = `${widest}ch`;
    if (figure.style.minWidth !== minWidth) figure.style.minWidth = minWidth;
  }
}
