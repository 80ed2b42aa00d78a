// @ts-check
// The chosen vehicle: verdict, reason, what weighed most, history and every field of its latest event. On a
// narrow screen it covers the page, and what it covers cannot be reached until it is closed.
import { evidence } from "../../words/evidence.js";
import { percent, span } from "../../words/format.js";
import { causeName, contributions, errorRatio, times, verdict } from "../../words/phrases.js";
import { byId, make, partsOf, setAttribute, setHidden, setText } from "../drawing/dom.js";
import { paintEpisodes } from "./episodes.js";
import { listenToActs } from "./handling.js";
import { others, signals, truth, verdictFields, way } from "./fields.js";
import { senderFields } from "./sender.js";
import { DetailTrends } from "./trends.js";

/** @typedef {import("../../state/records/scored_event.js").ScoredEvent} ScoredEvent */
/** @typedef {import("../../state/fleet.js").FleetState} FleetState */
/** @typedef {import("../drawing/palette.js").Palette} Palette */
/** @typedef {(episodeId: string, what: Record<string, unknown>) => Promise<string>} OnEpisode */

/** @param {ScoredEvent} event @returns {string} */
function reason(event) {
  if (!event.isAnomaly) return event.warmingUp ? "Too little is known of this vehicle's recent past to judge all of it." : "";
  const ratio = errorRatio(event);
  const beyond = ratio === null ? "" : `The model's error is ${times(ratio)} its threshold.`;
  const figure = evidence(event);
  return [figure ? `${causeName(event.cause)}: ${figure.charAt(0).toLowerCase()}${figure.slice(1)}.` : `${causeName(event.cause)}.`, beyond].join(" ");
}

/** @param {HTMLElement} list @param {import("./fields.js").Fields} fields */
function paintFields(list, fields) {
  while (list.childElementCount > fields.length) list.lastElementChild?.remove();
  fields.forEach(([name, value, isOutside], i) => {
    let pair = list.children[i];
    if (!pair) {
      pair = make("div");
      pair.append(make("dt"), make("dd"));
      list.append(pair);
    }
    setText(/** @type {HTMLElement} */ (pair.firstElementChild), name);
    setText(/** @type {HTMLElement} */ (pair.lastElementChild), value);
    setAttribute(/** @type {HTMLElement} */ (pair.lastElementChild), "data-outside", isOutside ? "" : null);
  });
}

/** @param {HTMLElement} list @param {ScoredEvent} event */
function paintBars(list, event) {
  const shares = contributions(event);
  while (list.childElementCount > shares.length) list.lastElementChild?.remove();
  shares.forEach(({ name, share, expected }, i) => {
    const bar = /** @type {HTMLElement} */ (list.children[i] ?? list.appendChild(newBar()));
    setText(/** @type {HTMLElement} */ (bar.children[0]), expected ? `${name}; ${expected} expected` : name);
    setText(/** @type {HTMLElement} */ (bar.children[1]), percent(share));
    const fill = /** @type {HTMLElement} */ (bar.children[2].firstElementChild);
    fill.style.transform = `scaleX(${share})`;
  });
  return shares.length;
}

function newBar() {
  const bar = make("li");
  const track = make("span", "bar-track");
  track.append(make("span", "bar-fill"));
  bar.append(make("span"), make("span"), track);
  return bar;
}

export class Details {
  #root = byId("details");
  #parts = partsOf(this.#root);
  #narrow = matchMedia("(max-width: 1023px)");
  #painted = "";

  /**
   * @param {FleetState} state @param {Palette} palette
   * @param {{close: () => void, locate: (vehicleId: string) => boolean, onEpisode: OnEpisode}} act @param {() => void} requestPaint
   */
  constructor(state, palette, act, requestPaint) {
    this.state = state;
    this.palette = palette;
    const repaint = () => {
      this.#painted = "";
      requestPaint();
    };
    this.trends = new DetailTrends(this.#parts.trends, palette, repaint);
    this.#parts.close.addEventListener("click", act.close);
    this.#parts.locate.addEventListener("click", () => {
      const { vehicleId } = state.chosen;
      if (vehicleId !== null && act.locate(vehicleId) && this.#narrow.matches) act.close();
    });
    listenToActs(this.#parts.episodes, act.onEpisode, () => state.user);
    this.#narrow.addEventListener("change", () => this.#cover());
  }

  /** @param {boolean} withFocus when someone asked for it, rather than the page's address */
  opened(withFocus) {
    this.#parts.scroll.scrollTop = 0;
    this.#painted = "";
    this.#show();
    if (withFocus) this.#parts.id.focus({ preventScroll: true });
  }

  paint() {
    const { chosen } = this.state;
    const wanted = `${chosen.version} ${this.palette.version}`;
    if (this.#painted === wanted) return;
    this.#painted = wanted;
    this.#show();
    if (chosen.vehicleId === null) return;
    setText(this.#parts.id, chosen.vehicleId);
    this.#message();
    if (chosen.latest) this.#event(chosen.latest);
  }

  #show() {
    setHidden(this.#root, this.state.chosen.vehicleId === null);
    this.#cover();
  }

  #cover() {
    const covered = this.#narrow.matches && !this.#root.hidden;
    for (const element of document.querySelectorAll(".bar, .figures, .strip, .floor > :not(.details)")) {
      element.toggleAttribute("inert", covered);
    }
    document.documentElement.style.overflow = covered ? "hidden" : "";
  }

  #message() {
    const { status, detail, latest } = this.state.chosen;
    setHidden(this.#parts.message, latest !== null);
    setHidden(this.#parts.body, latest === null);
    setText(this.#parts.message, status === "loading" ? "Loading…" : detail || "Nothing is known of this vehicle.");
    if (latest !== null) return;
    setText(this.#parts.verdict, status === "loading" ? "Loading" : "Unknown vehicle");
    setAttribute(this.#root, "data-verdict", "unsure");
  }

  /** @param {ScoredEvent} event */
  #event(event) {
    const mood = event.isAnomaly ? "anomalous" : event.warmingUp || event.repeat ? "unsure" : "normal";
    setAttribute(this.#root, "data-verdict", mood);
    const severity = event.isAnomaly && event.severity !== null ? ` · severity ${percent(event.severity)}` : "";
    setText(this.#parts.verdict, `${verdict(event)}${severity}`);
    setText(this.#parts.reason, reason(event));
    setHidden(this.#parts["contributions-block"], paintBars(this.#parts.contributions, event) === 0);
    setHidden(this.#parts["episodes-block"], this.state.chosen.episodes.length === 0);
    paintEpisodes(this.#parts.episodes, this.state);
    this.#history();
    this.#fields(event);
  }

  #history() {
    const history = this.state.chosen.history();
    const spanS = history.length < 2 ? 0 : (history[history.length - 1].timeS ?? 0) - (history[0].timeS ?? 0);
    setText(this.#parts["trend-title"], spanS > 0 ? `History of the last ${span(spanS)}` : "Recent history");
    this.trends.paint(history);
  }

  /** @param {ScoredEvent} event */
  #fields(event) {
    paintFields(this.#parts.signals, signals(event, this.state.channels));
    paintFields(this.#parts["verdict-fields"], verdictFields(event));
    paintFields(this.#parts.way, way(event));
    const { sender } = this.state.chosen;
    this.#optional("sender", sender && senderFields(sender));
    this.#optional("truth", truth(event));
    this.#optional("other", others(event, this.state.channels));
  }

  /** @param {string} name @param {import("./fields.js").Fields|null} fields */
  #optional(name, fields) {
    setHidden(this.#parts[`${name}-block`], !fields?.length);
    paintFields(this.#parts[name], fields ?? []);
  }
}
