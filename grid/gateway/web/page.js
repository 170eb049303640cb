// What the pages beside the live one share: clock, colours, keys, whether the gateway answers.

import { key } from "/web/api.js";
import * as dialogs from "/web/dialogs.js";
import * as door from "/web/door.js";
import { age } from "/web/format.js";
import * as theme from "/web/theme.js";

const $ = (id) => document.getElementById(id);
const SILENT_MS = 8000;

export class Page {
  // `begin` reads all anew, `paint` draws in other colours, `keys` are letters and what they do.
  constructor({ begin, paint, keys }) {
    this.begin = begin;
    this.heard = performance.now();
    this.word = "connecting";
    const ask = () => door.ask("", begin);
    this.keys = { t: theme.turn, k: ask, "?": dialogs.shortcuts, ...keys };
    document.addEventListener("keydown", (e) => this.press(e));
    $("theme").addEventListener("click", theme.turn);
    $("key").addEventListener("click", ask);
    $("help").addEventListener("click", dialogs.shortcuts);
    theme.start(paint);
    setInterval(() => this.tick(), 250);
    this.tick();
  }

  press(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || dialogs.isOpen()) return;
    // right after Esc a key still goes to the input of the dialog that has closed
    if (e.target.closest('input:not([type="range"]), select, textarea')?.checkVisibility()) return;
    // a button and a link have a meaning of their own for these
    if ((e.key === " " || e.key === "Enter") && e.target.closest("button, a, summary")) return;
    const act = this.keys[e.key];
    if (!act) return;
    e.preventDefault();
    act(e);
  }

  // Calls `ask`; what it throws is told, and null returned.
  async asked(ask) {
    try {
      const found = await ask();
      this.heard = performance.now();
      this.word = "live";
      return found;
    } catch (e) {
      if (door.isShut(e)) door.ask(key.get() ? e.message : "", this.begin);
      else if (e.status) this.word = "live"; // it answers, if only to refuse
      else this.word = "lost";
      this.error = e;
      return null;
    } finally {
      this.tick();
    }
  }

  tick() {
    const lost = this.word === "lost";
    $("link").dataset.state = this.word;
    $("link").textContent = { live: "connected", lost: "gateway lost", connecting: "connecting" }[this.word];
    $("clock").textContent = `${new Date().toISOString().slice(0, 19).replace("T", " ")} UTC`;
    const old = performance.now() - this.heard;
    const stale = lost && old > SILENT_MS;
    document.body.toggleAttribute("data-stale", stale);
    $("banner").hidden = !lost;
    $("banner").textContent = `The gateway is not reached, trying again: what is shown is ${age(old)} old.`;
  }
}

// What stands behind the # of the address.
export const chosen = () => decodeURIComponent(location.hash.slice(1));

export function put(id, text, className = "") {
  const at = $(id);
  if (at.textContent !== text) at.textContent = text;
  if (!at.classList.contains("sub")) at.className = className;
}
