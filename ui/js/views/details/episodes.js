// @ts-check
// The chosen vehicle's episodes: what it was, when, how bad, and the events that were worst.
import { lastedS } from "../../state/episodes.js";
import { evidence } from "../../words/evidence.js";
import { clockTime, dateTime, percent, span } from "../../words/format.js";
import { causeName, episodeState, errorRatio, groundsInWords, times } from "../../words/phrases.js";
import { instance, make, partsOf, setAttribute, setText } from "../drawing/dom.js";
import { paintHandling } from "./handling.js";

/** @typedef {import("../../state/records/episode.js").Episode} Episode */
/** @typedef {import("../../state/fleet.js").FleetState} FleetState */
/** @typedef {import("../../state/records/scored_event.js").ScoredEvent} ScoredEvent */

/** @param {string} source @param {ScoredEvent|undefined} event @returns {string} */
function worstInWords(source, event) {
  if (!event) return `Event ${source}`;
  const ratio = errorRatio(event);
  const figure = evidence(event) ?? (ratio === null ? `Event ${source}` : `Error ${times(ratio)} the threshold`);
  return `${clockTime(event.timeS)} · ${figure}`;
}

/** @param {HTMLElement} list @param {string[]} lines */
function paintLines(list, lines) {
  while (list.childElementCount > lines.length) list.lastElementChild?.remove();
  lines.forEach((line, i) => setText(/** @type {HTMLElement} */ (list.children[i] ?? list.appendChild(make("li"))), line));
}

/** @param {HTMLElement} item @param {Episode} episode @param {FleetState} state @param {Map<string|null, ScoredEvent>} events by source */
function paintEpisode(item, episode, state, events) {
  const parts = partsOf(item);
  setAttribute(item, "data-open", episode.open ? "" : null);
  setAttribute(item, "data-episode", episode.id);
  setText(parts.cause, causeName(episode.cause));
  setText(parts.state, episodeState(episode));
  setText(parts.span, `Since ${dateTime(episode.openedAtS)}, ${span(lastedS(episode, state))} long`);
  setText(parts.weight, `Severity up to ${percent(episode.severity)}, ${groundsInWords(episode)}`);
  paintLines(parts.worst, episode.worst.map((source) => worstInWords(source, events.get(source))));
  paintHandling(parts, episode, state.chosen.storyOf(episode), state.mayAct);
}

/** @param {HTMLElement} list @param {FleetState} state */
export function paintEpisodes(list, state) {
  const { chosen } = state;
  const events = new Map(chosen.history().map((event) => [event.source, event]));
  while (list.childElementCount > chosen.episodes.length) list.lastElementChild?.remove();
  chosen.episodes.forEach((episode, i) => {
    const item = list.children[i] ?? list.appendChild(instance("past-episode"));
    paintEpisode(/** @type {HTMLElement} */ (item), episode, state, events);
  });
}
