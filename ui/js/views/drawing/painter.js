// @ts-check
// Calls the views in one animation frame, each at its own pace. While the tab is hidden there are no frames, and
// nothing is queued for later: a view paints what the state is then.

/** @typedef {{everyMs: number, urgent: boolean, paintedMs: number, paint: (nowS: number) => void}} Task */

const HEARTBEAT_MS = 250; // moves the time axes and the "12 s ago" when nothing arrives

export class Painter {
  /** @type {Task[]} */ #tasks = [];
  #requested = false;

  start() {
    setInterval(() => this.request(), HEARTBEAT_MS);
    document.addEventListener("visibilitychange", () => this.request());
  }

  /**
   * @param {(nowS: number) => void} paint
   * @param {() => number} [everyMs] at most this often
   * @returns {() => void} paints in the next frame, whatever the pace
   */
  add(paint, everyMs = () => 0) {
    const task = { urgent: true, paintedMs: 0, paint, get everyMs() { return everyMs(); } };
    this.#tasks.push(task);
    return () => {
      task.urgent = true;
      this.request();
    };
  }

  request() {
    if (this.#requested || document.hidden) return;
    this.#requested = true;
    requestAnimationFrame((frameMs) => this.#frame(frameMs));
  }

  repaintAll() {
    for (const task of this.#tasks) task.urgent = true;
    this.request();
  }

  /** @param {number} frameMs */
  #frame(frameMs) {
    this.#requested = false;
    const nowS = Date.now() / 1000;
    for (const task of this.#tasks) {
      if (!task.urgent && frameMs - task.paintedMs < task.everyMs) continue;
      task.urgent = false;
      task.paintedMs = frameMs;
      this.#guarded(task, nowS);
    }
  }

  /** One view's fault must not stop the others. @param {Task} task @param {number} nowS */
  #guarded(task, nowS) {
    try {
      task.paint(nowS);
    } catch (error) {
      reportError(error);
    }
  }
}
