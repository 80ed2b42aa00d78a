// @ts-check
// Keeps a list's elements in step with items: one element per key, moved only when the order asks for it.

/** @template T */
export class KeyedList {
  /** @type {Map<string, HTMLElement>} */ #elements = new Map();

  /**
   * @param {HTMLElement} root
   * @param {(item: T) => HTMLElement} create
   * @param {(element: HTMLElement, item: T) => void} update
   */
  constructor(root, create, update) {
    this.root = root;
    this.create = create;
    this.update = update;
  }

  /** @param {{key: string, item: T}[]} wanted in order */
  paint(wanted) {
    this.#removeOthers(new Set(wanted.map(({ key }) => key)));
    /** @type {Element|null} */ let place = this.root.firstElementChild;
    for (const { key, item } of wanted) {
      const element = this.#elements.get(key) ?? this.#add(key, item);
      this.update(element, item);
      if (element === place) place = place.nextElementSibling;
      else this.#move(element, place);
    }
  }

  /** @param {string} key @param {T} item */
  #add(key, item) {
    const element = this.create(item);
    this.#elements.set(key, element);
    return element;
  }

  /** @param {HTMLElement} element @param {Element|null} before */
  #move(element, before) {
    const root = /** @type {HTMLElement & {moveBefore?: (e: Element, before: Element|null) => void}} */ (this.root);
    // moveBefore keeps the focus where it is; insertBefore loses it.
    if (root.moveBefore && element.parentElement === root) root.moveBefore(element, before);
    else root.insertBefore(element, before);
  }

  /** @param {Set<string>} keys */
  #removeOthers(keys) {
    for (const [key, element] of this.#elements) {
      if (keys.has(key)) continue;
      element.remove();
      this.#elements.delete(key);
    }
  }
}
