// Light, dark, or as the system has it.

import * as store from "./store.js";

const NAMES = { "": "automatic", light: "light", dark: "dark" };
const ORDER = ["", "light", "dark"];

/** Makes `button` go through the themes; the one that was chosen last is used. */
export function setUpTheme(button) {
  let theme = ORDER.includes(store.theme.get()) ? store.theme.get() : "";
  const apply = () => {
    // The style sheets take it from there: `light-dark()` follows the colour scheme.
    document.documentElement.style.colorScheme = theme || "light dark";
    button.setAttribute("aria-label", `Theme: ${NAMES[theme]}`);
    button.title = `Theme: ${NAMES[theme]}`;
  };
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    store.theme.set(theme);
    apply();
  });
  apply();
}
