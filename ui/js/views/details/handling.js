// @ts-check
// What can be done about one of the chosen vehicle's episodes, and what was done. The server decides: what was done by
// somebody else meanwhile is shown, and nothing is changed.
import { actionInWords, handlingInWords } from "../../words/handling.js";
import { make, setAttribute, setHidden, setText } from "../drawing/dom.js";

/** @typedef {import("../../state/records/episode.js").Episode} Episode */
/** @typedef {import("../../state/records/handling.js").Action} Action */
/** @typedef {Record<string, unknown>} Do */

const SNOOZED_S = 3600;

/**
 * @param {string} name of a control @param {string} value that it holds @param {string} user who is signed in
 * @returns {Do|null} what is asked for; null where nothing is
 */
export function wanted(name, value, user, nowS = Date.now() / 1000) {
  if (name === "take") return { kind: "assign", assignee: user };
  if (name === "label") return { kind: "label", label: value || null };
  if (name === "snooze") return { kind: "snooze", until: Math.round(nowS + SNOOZED_S) };
  if (name === "comment") return value.trim() ? { kind: "comment", text: value.trim() } : null;
  return { kind: name };
}

/** @param {HTMLElement} list @param {Action[]} actions */
function paintStory(list, actions) {
  while (list.childElementCount > actions.length) list.lastElementChild?.remove();
  actions.forEach((action, i) => {
    setText(/** @type {HTMLElement} */ (list.children[i] ?? list.appendChild(make("li"))), actionInWords(action));
  });
}

/** @param {Record<string, HTMLElement>} parts of an episode @param {Episode} episode @param {Action[]} story @param {boolean} mayAct */
export function paintHandling(parts, episode, story, mayAct) {
  const { handling } = episode;
  const isNew = handling.status === "new";
  setText(parts.handling, handlingInWords(handling));
  setHidden(parts.acknowledge, handling.status === "acknowledged");
  setHidden(parts.reopen, isNew);
  setHidden(parts.snooze, handling.status === "snoozed");
  setHidden(parts.acts, !mayAct);
  const label = /** @type {HTMLSelectElement} */ (parts.label);
  if (document.activeElement !== label) label.value = handling.label ?? "";
  setHidden(parts.story, story.length === 0);
  paintStory(parts.story, story);
}

/**
 * Listens to the controls of all episodes of a list.
 * @param {HTMLElement} list @param {(episodeId: string, what: Do) => Promise<string>} act returns why not; empty where done
 * @param {() => string} user
 */
export function listenToActs(list, act, user) {
  /** @param {Element} control @param {string} value */
  const send = async (control, value) => {
    const item = /** @type {HTMLElement|null} */ (control.closest("[data-episode]"));
    const what = wanted(/** @type {HTMLElement} */ (control).dataset.do ?? "", value, user());
    if (!item || what === null) return;
    setAttribute(item, "aria-busy", "true");
    const problem = await act(item.dataset.episode ?? "", what);
    setAttribute(item, "aria-busy", null);
    const said = /** @type {HTMLElement} */ (item.querySelector("[data-part=problem]"));
    setText(said, problem);
    if (!problem && control instanceof HTMLFormElement) control.reset();
  };
  list.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("button[data-do]");
    if (button) void send(button, "");
  });
  list.addEventListener("change", (event) => {
    const select = /** @type {Element} */ (event.target).closest("select[data-do]");
    if (select) void send(select, /** @type {HTMLSelectElement} */ (select).value);
  });
  list.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    void send(form, String(new FormData(form).get("text") ?? ""));
  });
}
