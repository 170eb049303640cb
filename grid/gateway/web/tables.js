// Rows of tables. Text goes in as text: what others named themselves is never markup.

import * as show from "/web/format.js";

const ROWS = 100;

export function row(cells, className = "") {
  const tr = document.createElement("tr");
  tr.className = className;
  for (const [text, name = "", title = ""] of cells) {
    const td = document.createElement("td");
    td.textContent = text;
    td.className = name;
    if (title) td.title = title;
    tr.append(td);
  }
  return tr;
}

export function put(id, rows, nothing) {
  const body = document.getElementById(id);
  const columns = body.parentElement.tHead.rows[0].cells.length;
  if (!rows.length) {
    const tr = row([[nothing, "none"]]);
    tr.cells[0].colSpan = columns;
    rows = [tr];
  }
  body.replaceChildren(...rows);
}

const side = (word) => [word || "–", word === "BUY" ? "buy" : "sell"];

export function agents(list, nowMs) {
  const sorted = [...list].sort((a, b) => b.holder - a.holder || a.agent_id.localeCompare(b.agent_id));
  put("agents", sorted.map((a) => {
    const answers = Object.entries(a.answers).map(([k, v]) => `${k} ${v}`).join(", ");
    return row([
      [a.agent_id, "", answers], [a.holder ? `${a.role} · trades` : a.role, a.holder ? "up" : ""], [a.policy.slice(0, 16) || "–", "id", a.policy],
      [show.micros(a.latency_us), "n"], [a.last_beat_ns ? show.age(nowMs - a.last_beat_ns / 1e6) : "never", "n"],
    ], a.alive ? "" : "stale");
  }), "No agent has joined");
}

const sum = (counters, names) => Object.entries(counters).reduce((n, [k, v]) => n + (names.test(k) ? v : 0), 0);

export function processes(list, nowMs) {
  put("processes", list.map((p) => {
    const counts = [/^(gaps|missed)$/, /late/, /drop/].map((names) => sum(p.counters, names));
    return row([
      [p.name, "", `${p.role}, pid ${p.pid}, ${p.state}`], [show.number(p.events_per_s, 1), "n"],
      ...counts.map((n) => [show.number(n), n ? "n warn" : "n"]),
      [show.age(nowMs - p.last_beat_ns / 1e6), "n"],
    ], p.alive ? "" : "stale");
  }), "No process was heard");
}

export function orders(list, digits) {
  put("orders", list.slice(0, ROWS).map((o) => row([
    [show.time(o.ts_event_ns), "", show.stamp(o.ts_event_ns)], side(o.side), [show.quantity(o.qty), "n"],
    [show.number(o.avg_px ?? o.limit_px, digits), "n"], [o.status, o.open ? "aim" : o.status === "filled" ? "" : "warn", o.reason ?? ""],
    [o.client_order_id, "id", o.by ? `${o.client_order_id}, by ${o.by}` : o.client_order_id],
  ])), "No orders yet");
}

export function fills(list, digits) {
  put("fills", list.slice(0, ROWS).map((f) => row([
    [show.time(f.ts_event_ns), "", show.stamp(f.ts_event_ns)], side(f.side), [show.quantity(f.qty), "n"], [show.number(f.px, digits), "n"],
    [`${show.number(f.commission, 2)} ${f.currency}`, "n"], [show.quantity(f.position_qty), "n"],
  ])), "No fills yet");
}

export function log(lines) {
  const newest = [...lines].sort((a, b) => (a.text < b.text ? 1 : -1)); // a line begins with its time
  const items = newest.map(({ process, text }) => {
    const li = document.createElement("li");
    const name = document.createElement("b");
    name.textContent = process;
    li.append(name, text);
    li.title = text;
    if (/ (ERROR|CRITICAL|WARNING) /.test(text)) li.className = "bad";
    return li;
  });
  document.getElementById("log").replaceChildren(...items);
}
