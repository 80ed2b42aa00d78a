// @ts-check
// Finds a vehicle by a part of its identifier: a combobox, all of it by keyboard too. What is not listed can
// still be asked of the server with Enter.
import { byId, make, setAttribute, setHidden } from "../drawing/dom.js";

/** @typedef {import("../../state/vehicles.js").Vehicles} Vehicles */

const MATCHES = 8;

export class SearchBox {
  #field = /** @type {HTMLInputElement} */ (byId("search-field"));
  #list = byId("search-matches");
  /** @type {string[]} */ #matches = [];
  #active = -1;

  /** @param {Vehicles} vehicles @param {(vehicleId: string) => void} choose */
  constructor(vehicles, choose) {
    this.vehicles = vehicles;
    this.choose = choose;
    this.#field.addEventListener("input", () => this.#search());
    this.#field.addEventListener("focus", () => this.#search());
    this.#field.addEventListener("blur", () => this.#close());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#list.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus in the field
    this.#list.addEventListener("click", (event) => {
      const item = /** @type {HTMLElement|null} */ (/** @type {HTMLElement} */ (event.target).closest("li"));
      if (item) this.#take(this.#matches[Number(item.dataset.place)]);
    });
    addEventListener("keydown", (event) => this.#shortcut(event));
  }

  /** @param {KeyboardEvent} event */
  #shortcut(event) {
    const typing = /** @type {HTMLElement} */ (event.target).matches?.("input, select, textarea");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#field.focus();
  }

  #search() {
    const part = this.#field.value.trim();
    this.#matches = part === "" ? [] : this.vehicles.matching(part, MATCHES);
    this.#active = -1;
    this.#list.replaceChildren(...this.#matches.map((id, i) => this.#item(id, i)));
    this.#mark();
  }

  /** @param {string} id @param {number} place */
  #item(id, place) {
    const item = make("li");
    item.id = `search-match-${place}`;
    item.role = "option";
    item.dataset.place = String(place);
    item.append(make("span", "", id));
    if (this.vehicles.anomalous[this.vehicles.row(id)]) item.append(make("span", "bad", "Anomalous"));
    return item;
  }

  #mark() {
    setHidden(this.#list, this.#matches.length === 0);
    setAttribute(this.#field, "aria-expanded", String(this.#matches.length > 0));
    setAttribute(this.#field, "aria-activedescendant", this.#active < 0 ? null : `search-match-${this.#active}`);
    [...this.#list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === this.#active)));
  }

  #close() {
    this.#matches = [];
    this.#mark();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (step && this.#matches.length > 0) this.#active = (this.#active + step + this.#matches.length) % this.#matches.length;
    else if (event.key === "Enter") this.#enter();
    else if (event.key === "Escape") this.#escape();
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.#mark();
  }

  #enter() {
    const typed = this.#field.value.trim();
    const only = this.vehicles.row(typed) < 0 && this.#matches.length === 1 ? this.#matches[0] : typed;
    const wanted = this.#matches[this.#active] ?? only;
    if (wanted) this.#take(wanted);
  }

  #escape() {
    if (this.#matches.length === 0) this.#field.blur();
    this.#field.value = "";
    this.#matches = [];
  }

  /** @param {string} vehicleId */
  #take(vehicleId) {
    this.#field.value = "";
    this.#field.blur();
    this.#close();
    this.choose(vehicleId);
  }
}
