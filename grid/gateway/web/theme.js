// Dark, light, or as the system has it; the choice is kept.

const KEY = "argonaut.theme";
const WORDS = { auto: "Auto", dark: "Dark", light: "Light" };
const system = matchMedia("(prefers-color-scheme: light)");
const listeners = [];

const wish = () => localStorage.getItem(KEY) ?? "auto";

function apply() {
  const found = wish() === "auto" ? (system.matches ? "light" : "dark") : wish();
  document.documentElement.dataset.theme = found;
  const button = document.getElementById("theme");
  button.textContent = WORDS[wish()];
  button.setAttribute("aria-label", `Colours: ${WORDS[wish()]}`);
  for (const listener of listeners) listener();
}

export function turn() {
  const names = Object.keys(WORDS);
  localStorage.setItem(KEY, names[(names.indexOf(wish()) + 1) % names.length]);
  apply();
}

export function start(changed) {
  listeners.push(changed);
  system.addEventListener("change", apply);
  apply();
}

export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
