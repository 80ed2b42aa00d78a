// @ts-check
// Lists stand still while someone points at them or walks through them by keyboard: what moves under the finger
// cannot be chosen.

/**
 * @param {HTMLElement} area
 * @param {() => void} onChange
 * @returns {() => boolean} whether the list is to stand still
 */
export function holdWhileRead(area, onChange) {
  let pointed = false;
  const set = (/** @type {boolean} */ value) => {
    pointed = value;
    onChange();
  };
  area.addEventListener("pointerenter", (event) => set(event.pointerType === "mouse"));
  area.addEventListener("pointerleave", () => set(false));
  area.addEventListener("focusin", onChange);
  area.addEventListener("focusout", onChange);
  return () => pointed || area.matches(":has(:focus-visible)");
}
