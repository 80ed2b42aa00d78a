// @ts-check
// The map: ground, streets, vehicles, and the one that is pointed at or chosen. It follows the fleet until it is
// moved by hand.
import { Camera } from "../../state/map/camera.js";
import { extentOf } from "../../state/map/extent.js";
import { SILENT_AFTER_S } from "../../state/vehicles.js";
import { count } from "../../words/format.js";
import { byId, partsOf, setAttribute, setHidden, setText } from "../drawing/dom.js";
import { Surface } from "../drawing/surface.js";
import { MapDots } from "./dots.js";
import { listenToGestures } from "./gestures.js";
import { paintGrid, scaleBar } from "./grid.js";
import { MapStreets } from "./streets.js";

/** @typedef {import("../../state/fleet.js").FleetState} FleetState */
/** @typedef {import("../drawing/palette.js").Palette} Palette */

const MARGIN = 44;
const REFIT_EVERY_S = 2;
const PICK_WITHIN_MOUSE = 12; // pixels
const PICK_WITHIN_FINGER = 26;
const LOCATE_SCALE = 2 ** 22;
const MOST_OF_THE_TIME = 5; // a paint may take a fifth of the time
const FASTEST_MS = 100;

export class MapView {
  camera = new Camera();
  #root = byId("map");
  #parts = partsOf(this.#root);
  #fit = /** @type {HTMLElement} */ (this.#root.querySelector("[data-tool=fit]"));
  #following = true;
  #fittedS = 0;
  #pointed = -1;
  #costMs = 0;

  /**
   * @param {FleetState} state @param {Palette} palette @param {(vehicleId: string) => void} choose
   * @param {() => void} requestPaint
   */
  constructor(state, palette, choose, requestPaint) {
    this.state = state;
    this.palette = palette;
    this.requestPaint = requestPaint;
    const canvas = /** @type {HTMLCanvasElement} */ (byId("map-canvas"));
    this.surface = new Surface(canvas, () => this.#resized());
    this.streets = new MapStreets(state.traces);
    this.dots = new MapDots(state.vehicles, palette);
    listenToGestures(canvas, this.camera, {
      onMove: () => this.#moved(),
      onFit: () => this.#follow(true),
      onHover: (point) => this.#point(point ? this.#nearest(point, PICK_WITHIN_MOUSE) : -1),
      onPick: (point, isMouse) => {
        const row = this.#nearest(point, isMouse ? PICK_WITHIN_MOUSE : PICK_WITHIN_FINGER);
        if (row >= 0) choose(/** @type {string} */ (state.vehicles.ids[row]));
      },
    });
    this.#root.addEventListener("click", (event) => this.#tool(/** @type {HTMLElement} */ (event.target)));
  }

  /** Slower where drawing is dear, so that the page stays at hand. @returns {number} */
  everyMs() {
    return Math.max(FASTEST_MS, this.#costMs * MOST_OF_THE_TIME);
  }

  /** @param {string} vehicleId @returns {boolean} whether its position is known */
  locate(vehicleId) {
    const row = this.state.vehicles.row(vehicleId);
    if (row < 0 || Number.isNaN(this.state.vehicles.x[row])) return false;
    this.camera.x = this.state.vehicles.x[row];
    this.camera.y = this.state.vehicles.y[row];
    this.camera.scale = Math.max(this.camera.scale, LOCATE_SCALE);
    this.#follow(false);
    return true;
  }

  /** @param {number} nowS */
  paint(nowS) {
    const startedMs = performance.now();
    if (this.#following) this.#refit(nowS);
    const context = this.surface.begin();
    this.#ground(context, startedMs);
    this.dots.paint(context, this.camera, nowS, this.surface.ratio);
    this.#rings(context, nowS);
    this.#surroundings();
    this.#costMs = this.#costMs * 0.8 + (performance.now() - startedMs) * 0.2;
  }

  /** @param {CanvasRenderingContext2D} context @param {number} nowMs */
  #ground(context, nowMs) {
    const font = getComputedStyle(this.#root).fontFamily;
    const colour = (/** @type {string} */ name) => this.palette.colour(name);
    paintGrid(context, this.camera, { line: colour("--map-grid"), text: colour("--ink-3"), font: `11px ${font}` });
    this.streets.paint(context, this.camera, colour("--map-street"), nowMs);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} nowS */
  #rings(context, nowS) {
    const { vehicles, chosen } = this.state;
    const row = chosen.vehicleId === null ? -1 : vehicles.row(chosen.vehicleId);
    if (row >= 0) this.#ring(context, row, "--ink", 2);
    if (this.#pointed >= 0 && this.#pointed !== row) this.#ring(context, this.#pointed, "--ink-2", 1.5);
    this.#tip(nowS);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} row @param {string} colour @param {number} width */
  #ring(context, row, colour, width) {
    const { vehicles } = this.state;
    context.strokeStyle = this.palette.colour(colour);
    context.lineWidth = width;
    context.beginPath();
    context.arc(this.camera.toPixelX(vehicles.x[row]), this.camera.toPixelY(vehicles.y[row]), 9, 0, 2 * Math.PI);
    context.stroke();
  }

  /** @param {number} nowS */
  #tip(nowS) {
    const { vehicles } = this.state;
    const id = this.#pointed < 0 ? null : vehicles.ids[this.#pointed];
    const { tip } = this.#parts;
    setHidden(tip, id === null);
    if (id === null) return;
    const row = this.#pointed;
    const speed = Number.isNaN(vehicles.speedKmh[row]) ? "" : ` · ${count(vehicles.speedKmh[row])} km/h`;
    const silent = nowS - vehicles.seenS[row] > SILENT_AFTER_S;
    setText(this.#parts["tip-id"], id);
    setText(this.#parts["tip-text"], `${silent ? "Silent" : vehicles.anomalous[row] ? "Anomalous" : "Normal"}${speed}`);
    setAttribute(tip, "data-anomalous", vehicles.anomalous[row] ? "" : null);
    const x = this.camera.toPixelX(vehicles.x[row]);
    const y = this.camera.toPixelY(vehicles.y[row]);
    const left = x + 14 + tip.offsetWidth > this.camera.width ? x - 14 - tip.offsetWidth : x + 14;
    tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(Math.max(4, y - 20))}px)`;
  }

  #surroundings() {
    const bar = scaleBar(this.camera, 120);
    setText(this.#parts["scale-text"], bar.text);
    this.#parts["scale-bar"].style.width = `${Math.round(bar.pixels)}px`;
    const { outside } = this.dots;
    setHidden(this.#parts.outside, outside === 0);
    setText(this.#parts.outside, `${count(outside)} outside this view`);
  }

  /** @param {number} nowS */
  #refit(nowS) {
    if (nowS - this.#fittedS < REFIT_EVERY_S) return;
    this.#fittedS = nowS;
    const box = this.#extent();
    if (box && !this.camera.shows(box)) this.camera.fit(box, MARGIN);
  }

  #extent() {
    const { vehicles } = this.state;
    return extentOf(vehicles.x, vehicles.y, vehicles.end);
  }

  /** By hand; a world that was empty then is no view that somebody chose. */
  #moved() {
    this.#follow(this.#following && this.#extent() === null);
  }

  /** @param {boolean} following */
  #follow(following) {
    this.#following = following;
    if (following) {
      this.#fittedS = 0;
      const box = this.#extent();
      if (box) this.camera.fit(box, MARGIN);
    }
    setAttribute(this.#fit, "aria-pressed", String(following));
    this.requestPaint();
  }

  #resized() {
    this.camera.resize(this.surface.width, this.surface.height);
    if (this.#following) this.#follow(true);
    else this.requestPaint();
  }

  /** @param {HTMLElement} target */
  #tool(target) {
    const button = /** @type {HTMLElement|null} */ (target.closest("[data-tool]"));
    if (!button) return;
    const { tool } = button.dataset;
    if (tool === "fit") return this.#follow(true);
    this.camera.zoom(tool === "in" ? 2 : 0.5, this.camera.width / 2, this.camera.height / 2);
    this.#moved();
  }

  /** @param {number} row */
  #point(row) {
    if (row === this.#pointed) return;
    this.#pointed = row;
    this.surface.canvas.classList.toggle("over", row >= 0);
    this.requestPaint();
  }

  /** @param {{x: number, y: number}} point @param {number} within pixels @returns {number} a row, or -1 */
  #nearest(point, within) {
    const { vehicles } = this.state;
    const [x, y] = [this.camera.toMapX(point.x), this.camera.toMapY(point.y)];
    let least = (within / this.camera.scale) ** 2;
    let nearest = -1;
    for (let row = 0; row < vehicles.end; row++) {
      // An anomalous vehicle is drawn on top and larger: it wins where several lie under the pointer.
      const favour = vehicles.anomalous[row] ? 0.25 : 1;
      const away = ((vehicles.x[row] - x) ** 2 + (vehicles.y[row] - y) ** 2) * favour;
      if (away < least) [least, nearest] = [away, row];
    }
    return nearest;
  }
}
