// @ts-check
// The few ways in which the views touch the document. Text goes in as text, never as markup.

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no element #${id}: index.html and the modules are of different versions.`);
  return element;
}

/** @param {ParentNode} root @returns {Record<string, HTMLElement>} its elements by data-part */
export function partsOf(root) {
  /** @type {Record<string, HTMLElement>} */
  const parts = {};
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-part]"))) {
    parts[/** @type {string} */ (element.dataset.part)] = element;
  }
  return parts;
}

/** @param {string} templateId @returns {HTMLElement} a copy of the template's first element */
export function instance(templateId) {
  const { content } = /** @type {HTMLTemplateElement} */ (byId(templateId));
  return /** @type {HTMLElement} */ (/** @type {Element} */ (content.firstElementChild).cloneNode(true));
}

/** @param {HTMLElement} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {HTMLElement} element @param {string} name @param {string|null} value null takes it away */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** @param {HTMLElement} element @param {boolean} hidden */
export function setHidden(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/** @param {string} tag @param {string} [className] @param {string} [text] */
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
