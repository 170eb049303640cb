// The key figures at the top: each number with its unit, as the API has it.

import * as show from "/web/format.js";

const $ = (id) => document.getElementById(id);

function put(id, text, className = "") {
  const at = $(id);
  if (at.textContent !== text) at.textContent = text;
  if (!at.classList.contains("sub")) at.className = className;
}

// EUR/USD.SIM is held in EUR and paid in USD; other names say neither.
export function unitsOf(instrument, currency = "") {
  const [pair] = instrument.split(".");
  const [base, quote] = pair.includes("/") ? pair.split("/") : ["", currency];
  return { base: base || "units", quote: quote || currency };
}

// A number and, smaller, its unit.
function measured(id, text, unit, className = "") {
  const at = $(id);
  const small = document.createElement("span");
  small.className = "unit";
  small.textContent = unit;
  at.className = className;
  at.replaceChildren(`${text} `, small);
}

export function strategy(s) {
  const word = s.halted ? "HALTED" : "TRADING";
  put("state", word, s.halted ? "down" : "up");
  put("state-why", s.halted ? `by ${s.halted_by}${s.halt_reason ? `: ${s.halt_reason}` : ""}` : s.strategy_id);
  $("state-why").title = $("state-why").textContent;
  put("instrument", s.instrument_id);
  put("decision-count", show.number(s.decision_seq));
}

export function price(value, digits, ts_ns) {
  put("price", show.number(value, digits));
  put("price-at", `${show.stamp(ts_ns)} UTC`);
}

export function account(a, position, units, first, digits) {
  const qty = position?.qty ?? a.position_qty;
  measured("position", show.signed(qty, Number.isInteger(qty) ? 0 : 4), units.base, show.tone(qty));
  put("position-at", qty ? `at ${show.number(position?.avg_px, digits)} · ${a.open_orders} open` : `flat · ${a.open_orders} open orders`);
  measured("equity", show.number(a.equity, 2), units.quote);
  const gain = first ? a.equity - first : 0;
  put("equity-change", first ? `${show.signed(gain, 2)} (${show.signed((gain / first) * 100, 2)} %)` : "\u00a0");
  measured("unrealized", show.signed(position?.unrealized ?? a.unrealized, 2), units.quote, show.tone(position?.unrealized ?? a.unrealized));
  put("cash", `cash ${show.number(a.cash, 2)}`);
  put("drawdown", show.percent(a.drawdown, 3), a.drawdown > 0 ? "down" : "");
  put("peak", `from ${show.number(a.peak_equity, 2)} ${units.quote}`);
}

export function fills(count, fees, currency) {
  put("fill-count", show.number(count));
  put("fees", count ? `fees ${show.number(fees, 2)} ${currency}` : "\u00a0");
}

export function outcome(o) {
  if (!o?.how) return;
  put("decision-how", o.how === "action" ? `${o.agent_id}: target ${show.signed(o.target * 100, 0)} %` : `fallback: ${o.reason ?? ""}`);
}

export function who(name, mode) {
  put("grid", name, "grid-name");
  put("mode", mode, "badge");
  $("mode").dataset.mode = mode;
  document.title = `${name} · Argonaut`;
}
