// @ts-check
// The stylesheet's colours for the canvases, which do not understand custom properties.

export class Palette {
  /** @type {Map<string, string>} */ #colours = new Map();
  #probe;
  version = 0;

  constructor() {
    this.#probe = document.createElement("i");
    this.#probe.hidden = true;
    document.body.append(this.#probe);
  }

  /** @param {string} name such as --anomaly @returns {string} a colour that a canvas takes */
  colour(name) {
    const known = this.#colours.get(name);
    if (known !== undefined) return known;
    this.#probe.style.color = `var(${name})`;
    const colour = getComputedStyle(this.#probe).color;
    this.#colours.set(name, colour);
    return colour;
  }

  /** The scheme has changed. */
  forget() {
    this.#colours.clear();
    this.version += 1;
  }
}
