// @ts-check
// The pipeline's own figures in one line. When they cannot be had, the last ones stay, paler, with the reason.
import { count, decimal, duration } from "../words/format.js";
import { byId, make, partsOf, setAttribute, setHidden, setText } from "./dom.js";

/** @typedef {{name: string, value: string, mood?: string, title?: string}} Entry */

/** @param {unknown} value @returns {number|null} */
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** @param {Record<string, any>} p @returns {string} */
function latency(p) {
  const spread = [p.latencyMs?.p50, p.latencyMs?.p95, p.latencyMs?.p99].map(number);
  if (spread.every((ms) => ms === null)) return "–";
  return `${spread.map((ms) => (ms !== null && ms < 10 ? decimal(ms) : count(ms))).join(" / ")} ms`;
}

/** @param {unknown} replicas @returns {string} e.g. "ingest 2, scorer 1" */
function replicaCounts(replicas) {
  if (typeof replicas !== "object" || replicas === null) return "";
  const counts = Object.entries(replicas).filter(([, running]) => number(running) !== null);
  return counts.map(([name, running]) => `${name.toLowerCase()} ${count(running)}`).join(", ");
}

/** @param {Record<string, any>} p the answer of v1/pipeline @returns {Entry[]} */
export function entries(p) {
  const oldestS = number(p.oldestUnscoredSeconds);
  const all = [
    { name: "Read", value: count(number(p.read)) },
    { name: "Scored", value: count(number(p.scored)) },
    { name: "Dead-lettered", value: count(number(p.deadLettered)), mood: p.deadLettered > 0 ? "worry" : "" },
    { name: "In flight", value: count(number(p.inFlight)) },
    { name: "Lag", value: count(number(p.lag)) },
    { name: "Oldest unscored", value: duration(oldestS), mood: oldestS !== null && oldestS > 10 ? "bad" : "" },
    { name: "p50 / p95 / p99", value: latency(p), title: "From Kafka's append to the gateway" },
    { name: "Dropped for slow clients", value: count(number(p.dropped)), mood: "worry" },
    { name: "Replicas", value: replicaCounts(p.replicas) },
    { name: "Model", value: typeof p.modelVersion === "string" ? p.modelVersion : "" },
  ];
  return all.filter(({ name, value }) => value !== "" && !(name.startsWith("Dropped") && !(p.dropped > 0)));
}

export class PipelineStrip {
  #root = byId("pipeline");
  #parts = partsOf(this.#root);

  /** @param {Record<string, any>} pipeline */
  show(pipeline) {
    setAttribute(this.#root, "data-state", "fresh");
    setHidden(this.#parts.problem, true);
    const wanted = entries(pipeline);
    const list = this.#parts.figures;
    while (list.childElementCount > wanted.length) list.lastElementChild?.remove();
    wanted.forEach((entry, i) => this.#entry(/** @type {HTMLElement|undefined} */ (list.children[i]) ?? this.#add(), entry));
  }

  /** @param {Error} error */
  fail(error) {
    setAttribute(this.#root, "data-state", "stale");
    setHidden(this.#parts.problem, false);
    setText(this.#parts.problem, `No pipeline figures at the moment: ${error.message}`);
  }

  #add() {
    const entry = make("div");
    entry.append(make("dt"), make("dd"));
    this.#parts.figures.append(entry);
    return entry;
  }

  /** @param {HTMLElement} element @param {Entry} entry */
  #entry(element, { name, value, mood, title }) {
    setText(/** @type {HTMLElement} */ (element.firstElementChild), name);
    setText(/** @type {HTMLElement} */ (element.lastElementChild), value);
    setAttribute(element, "class", mood || null);
    setAttribute(element, "title", title ?? null);
  }
}
