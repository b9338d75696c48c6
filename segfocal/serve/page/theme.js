// Light, dark, or as the system has it; the choice is kept in this browser.

const KEY = "segfocal-theme";
const ROUND = { system: "light", light: "dark", dark: "system" };

let chosen = localStorage.getItem(KEY) ?? "system";

function apply() {
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

/** Go on to the next choice; return its name. */
export function nextTheme() {
  chosen = ROUND[chosen] ?? "system";
  localStorage.setItem(KEY, chosen);
  apply();
  return chosen;
}

apply();
