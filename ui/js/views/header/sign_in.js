// @ts-check
// Asks for a token where the server wants one. What is typed goes to the server alone, which answers with a cookie that
// no script can read; the page then begins anew.
import { ApiError } from "../../net/api.js";
import { byId, partsOf, setText } from "../drawing/dom.js";

/** @typedef {import("../../net/api.js").Api} Api */
/** @typedef {{tenant: string|null, name: string, mayAct: boolean}} Session whose events are shown, null = every tenant's; who looks */

const ROLES_THAT_ACT = new Set(["operator", "admin"]);

export class SignIn {
  #dialog = /** @type {HTMLDialogElement} */ (byId("sign-in"));
  #parts = partsOf(this.#dialog);
  #api;
  #restart;

  /** @param {Api} api @param {() => void} restart begins the page anew, signed in */
  constructor(api, restart) {
    this.#api = api;
    this.#restart = restart;
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault()); // behind it there is nothing to see
    this.#parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
  }

  /** Asks who is signed in, and opens the form where nobody is. @returns {Promise<Session|null>} null where not known */
  async check() {
    try {
      const { tenant, name, role } = await this.#api.session();
      return { tenant: typeof tenant === "string" ? tenant : null, name: String(name), mayAct: ROLES_THAT_ACT.has(String(role)) };
    } catch (error) {
      if (error instanceof ApiError && error.status === 401 && !this.#dialog.open) this.#dialog.showModal();
      return null;
    }
  }

  async #submit() {
    const field = /** @type {HTMLInputElement} */ (this.#parts.token);
    setText(this.#parts.problem, "");
    try {
      await this.#api.signIn(field.value.trim());
      this.#restart();
    } catch (error) {
      field.value = "";
      setText(this.#parts.problem, /** @type {Error} */ (error).message);
    }
  }
}
