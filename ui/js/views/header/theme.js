// @ts-check
// Light or dark: the system's choice until the button says otherwise; then that is remembered.
import { byId, setAttribute } from "../drawing/dom.js";

/** @param {string} theme */
function remember(theme) {
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage may be forbidden: then the choice lasts as long as the page.
  }
}

/** @param {() => void} onChange */
export function themeToggle(onChange) {
  const root = document.documentElement;
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const apply = () => {
    setAttribute(root, "data-dark", isDark() ? "" : null);
    setAttribute(button, "aria-pressed", String(isDark()));
    onChange();
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
