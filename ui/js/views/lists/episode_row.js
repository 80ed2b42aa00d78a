// @ts-check
// One episode as a row that can be chosen.
import { lastedS } from "../../state/episodes.js";
import { evidence } from "../../words/evidence.js";
import { clockTime, dateTime, percent, span } from "../../words/format.js";
import { alarmsInWords, causeName, contributionsInWords, episodeState, errorRatio, groundsInWords, times } from "../../words/phrases.js";
import { handlingInWords } from "../../words/handling.js";
import { instance, partsOf, setAttribute, setHidden, setText } from "../drawing/dom.js";

/** @typedef {import("../../state/records/episode.js").Episode} Episode */
/** @typedef {import("../../state/fleet.js").FleetState} FleetState */

/** @type {WeakMap<HTMLElement, Record<string, HTMLElement>>} */
const partsByRow = new WeakMap();

/** @param {Episode} episode @returns {HTMLElement} */
export function createRow(episode) {
  const row = instance("episode-row");
  partsByRow.set(row, partsOf(row));
  const button = /** @type {HTMLElement} */ (row.firstElementChild);
  button.dataset.vehicle = episode.vehicleId;
  return row;
}

/** @param {Episode} episode @param {FleetState} state @returns {string} the figure that shows the cause, or how many say so */
function evidenceOf(episode, state) {
  const worst = state.episodes.worstOf(episode);
  const figure = worst && evidence(worst);
  const ratio = worst && errorRatio(worst);
  if (figure) return figure;
  return ratio ? `Error ${times(ratio)} the threshold` : groundsInWords(episode);
}

/** @param {HTMLElement} row @param {Episode} episode @param {FleetState} state */
export function updateRow(row, episode, state) {
  const parts = /** @type {Record<string, HTMLElement>} */ (partsByRow.get(row));
  const worst = state.episodes.worstOf(episode);
  const why = (worst && contributionsInWords(worst)) || episodeState(episode);
  setText(parts.cause, causeName(episode.cause));
  setText(parts.vehicle, episode.vehicleId);
  setText(parts.evidence, evidenceOf(episode, state));
  setText(parts.when, `${clockTime(episode.openedAtS)} · ${span(lastedS(episode, state))}`);
  setText(parts.why, why);
  const done = handlingInWords(episode.handling);
  setText(parts.handling, done);
  setHidden(parts.handling, done === "");
  setText(parts.severity, [percent(episode.severity), alarmsInWords(episode)].filter(Boolean).join(" · "));
  parts.meter.style.transform = `scaleX(${Math.max(0, Math.min(1, episode.severity ?? 0))})`;
  const button = /** @type {HTMLElement} */ (row.firstElementChild);
  setAttribute(button, "aria-current", episode.vehicleId === state.chosen.vehicleId ? "true" : null);
  setAttribute(button, "title", [why, `Since ${dateTime(episode.openedAtS)}`, `Peak severity ${percent(episode.severity)}, ${groundsInWords(episode)}`].join("\n"));
}
