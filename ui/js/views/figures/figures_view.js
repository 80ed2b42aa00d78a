// @ts-check
// The figures at the top, painted.
import { ago } from "../../words/format.js";
import { byId, partsOf, setAttribute, setText } from "../drawing/dom.js";
import { LineChart } from "../drawing/line_chart.js";
import { FIGURES } from "./catalogue.js";

/** @typedef {import("../../state/fleet.js").FleetState} FleetState */
/** @typedef {import("../drawing/palette.js").Palette} Palette */
/** @typedef {import("./catalogue.js").Figure} Figure */

class FigureView {
  #parts;
  #chart;

  /** @param {HTMLElement} root @param {Figure} figure @param {Palette} palette @param {() => void} requestPaint */
  constructor(root, figure, palette, requestPaint) {
    this.root = root;
    this.figure = figure;
    this.#parts = partsOf(root);
    this.#chart = new LineChart(/** @type {HTMLCanvasElement} */ (root.querySelector("canvas")), palette, requestPaint);
  }

  /** @param {FleetState} state @param {number} nowS */
  paint(state, nowS) {
    const { figure } = this;
    const lines = figure.lines(state, nowS);
    const { timesS, values } = lines[0].series;
    const plotted = lines.map(({ series, ...look }) => ({ values: series.values, ...look }));
    const fromS = timesS[0];
    const toS = timesS[timesS.length - 1];
    const hovered = this.#chart.paint({ timesS, lines: plotted, fromS, toS, fromZero: !figure.floating, leastSpan: figure.leastSpan });
    setText(this.#parts.value, figure.value(state, nowS));
    const at = hovered === null ? null : values[hovered];
    const then = hovered === null || at === null ? "" : `${figure.readOut(at)} · ${ago(nowS - timesS[hovered])}`;
    setText(this.#parts.note, then || figure.note(state, nowS));
    setAttribute(this.root, "data-anomalous", figure.isAnomalous?.(state, nowS) ? "" : null);
  }
}

export class FiguresView {
  /** @type {FigureView[]} */ #views = [];

  /** @param {FleetState} state @param {Palette} palette @param {() => void} requestPaint */
  constructor(state, palette, requestPaint) {
    this.state = state;
    for (const root of /** @type {NodeListOf<HTMLElement>} */ (byId("figures").querySelectorAll("[data-figure]"))) {
      const figure = FIGURES[/** @type {string} */ (root.dataset.figure)];
      this.#views.push(new FigureView(root, figure, palette, requestPaint));
    }
  }

  /** @param {number} nowS */
  paint(nowS) {
    for (const view of this.#views) view.paint(this.state, nowS);
  }
}
