// @ts-check
// A canvas that is as sharp as the screen and follows the size of its box.

export class Surface {
  width = 0;
  height = 0;
  ratio = 1;
  #context;

  /** @param {HTMLCanvasElement} canvas @param {() => void} onResize */
  constructor(canvas, onResize) {
    this.canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    new ResizeObserver(() => {
      this.#measure();
      onResize();
    }).observe(canvas);
    this.#measure();
  }

  #measure() {
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
  }

  /** @returns {CanvasRenderingContext2D} cleared, in CSS pixels */
  begin() {
    this.ratio = Math.min(3, devicePixelRatio || 1);
    const [width, height] = [Math.round(this.width * this.ratio), Math.round(this.height * this.ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.#context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.#context.clearRect(0, 0, this.width, this.height);
    return this.#context;
  }
}
