// The page that plays recorded sessions: the live view's charts and tables, fed from the recording.

import { get } from "/web/api.js";
import { Charts } from "/web/chart.js";
import * as figures from "/web/figures.js";
import * as show from "/web/format.js";
import { Page, chosen, put } from "/web/page.js";
import { Player } from "/web/player.js";
import { Strip } from "/web/strip.js";
import * as table from "/web/tables.js";
import { Tape } from "/web/tape.js";

const LIST_MS = 5000;
const AGAIN_MS = 500; // until a session that is being read is asked for again
const ROWS = 100;
const TABLES_MS = 120;
const MANY = 300; // steps that are drawn at once
const SPEEDS = { x1: 1, x10: 10, x100: 100, max: "max" };

const $ = (id) => document.getElementById(id);
const seen = { name: "", sessions: [], tape: null, drawn: 0, t: 0, tablesAt: 0, late: 0, load: 0 };
const charts = new Charts($("chart"));
const strip = new Strip($("strip"));
const player = new Player(moved, controls);
const page = new Page({
  begin: list,
  paint: () => {
    charts.paint();
    strip.draw(seen.t);
  },
  keys: {
    " ": toggle, ArrowLeft: (e) => player.step(e.shiftKey ? -10 : -1), ArrowRight: (e) => player.step(e.shiftKey ? 10 : 1),
    Home: () => jump(0), End: () => jump(Infinity), n: () => other(1), p: () => other(-1),
    1: () => speed("x1"), 2: () => speed("x10"), 3: () => speed("x100"), 4: () => speed("max"),
  },
});

// -- which session -------------------------------------------------------------------------------

async function list() {
  clearTimeout(seen.timer);
  if (document.hidden) return void (seen.timer = setTimeout(list, LIST_MS));
  const found = await page.asked(() => get("sessions?limit=200"));
  seen.timer = setTimeout(list, LIST_MS);
  if (!found) return;
  seen.sessions = found.items;
  const wish = chosen();
  const name = wish || found.items[0]?.id || "";
  if (name !== seen.name) open(name);
  drawList(Boolean(found.next));
}

function drawList(more) {
  const items = seen.sessions.map((s) => {
    const li = document.createElement("li");
    const a = document.createElement("a");
    const head = document.createElement("b");
    const [word, small] = [document.createElement("span"), document.createElement("small")];
    a.href = `#${encodeURIComponent(s.id)}`;
    if (s.id === seen.name) a.setAttribute("aria-current", "true");
    word.textContent = s.state === "complete" ? "" : s.state;
    word.className = s.state === "damaged" ? "down" : "warn";
    head.append(s.id.replace(/^\d{8}-\d{6}-/, ""), word);
    const seconds = s.ended_ns ? ` · ${show.duration((s.ended_ns - s.started_ns) / 1e9)}` : "";
    small.textContent = `${show.stamp(s.started_ns)}${seconds}${s.events ? ` · ${show.number(s.events)} events` : ""}`;
    a.title = s.id;
    a.append(head, small);
    li.append(a);
    return li;
  });
  if (!items.length) {
    const li = document.createElement("li");
    li.className = "none";
    li.textContent = "No session was recorded yet";
    items.push(li);
  }
  const focused = document.activeElement?.closest?.("#sessions a")?.getAttribute("href");
  $("sessions").replaceChildren(...items);
  if (focused) [...$("sessions").querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus({ preventScroll: true });
  $("sessions-sum").textContent = items.length && seen.sessions.length ? `${seen.sessions.length}${more ? " newest" : ""}` : "";
}

async function open(name) {
  const mine = ++seen.load;
  seen.name = name;
  seen.tape = null;
  player.load(null);
  document.body.removeAttribute("data-t");
  $("main").setAttribute("aria-busy", "true"); // what is shown is of another session still
  put("grid", name || "–", "grid-name");
  document.title = `${name || "Sessions"} · Argonaut`;
  if (!name) return;
  $("notes").textContent = "The session is being read.";
  const tape = await read(name, mine);
  if (mine !== seen.load) return;
  if (!tape) {
    $("notes").textContent = page.error?.message ?? "The session cannot be read.";
    return;
  }
  seen.tape = tape;
  strip.load(tape);
  $("slider").max = tape.end;
  $("slider").disabled = false;
  charts.digits = Math.max(2, ...tape.market.slice(-200).map(({ row }) => show.digitsOf(row.close)));
  $("notes").textContent = notes(tape).map((said) => `${said[0].toUpperCase()}${said.slice(1)}.`).join(" ");
  $("main").setAttribute("aria-busy", "false");
  player.load(tape);
  const begin = tape.moments.find(({ row }) => row.account);
  player.jump(begin ? begin.t_ns : 0);
}

async function read(name, mine) {
  for (;;) {
    const found = await page.asked(() => get(`sessions/${encodeURIComponent(name)}`));
    if (!found || mine !== seen.load) return null;
    if (found.ready) return page.asked(() => new Tape(found).load());
    $("notes").textContent = `The session is being read: ${show.number(found.events)} events so far.`;
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

function notes(tape) {
  const { overview: o } = tape;
  const found = [...o.thinned];
  if (tape.stride > 1) found.push(`the charts show one in ${tape.stride} of the decisions`);
  if (o.lost) found.push(`the recorder lost ${show.number(o.lost)} ${o.lost === 1 ? "event" : "events"}`);
  if (o.state === "recording") found.push("it is being recorded still, and shown as far as it was written when it was opened");
  else if (o.damage) found.push(o.state === "interrupted" ? `its recorder was interrupted: ${o.damage}` : o.damage);
  if (!tape.moments.length) found.push("no strategy shows itself in this session");
  return found;
}

// -- what is shown at a time ---------------------------------------------------------------------

function moved(t, jumped) {
  const tape = seen.tape;
  if (!tape) return;
  draw(tape, t);
  seen.t = t;
  const now = tape.at(t);
  drawFigures(tape, now);
  drawWhere(tape, t, now);
  clearTimeout(seen.late);
  const wait = jumped ? 0 : seen.tablesAt + TABLES_MS - performance.now();
  if (wait <= 0) drawTables(tape, t, now);
  else seen.late = setTimeout(() => seen.tape === tape && drawTables(tape, seen.t, tape.at(seen.t)), wait);
  document.body.dataset.t = t; // tests ask the API for the same time
}

// Draws on from where the charts are; back in time, or far on, they are drawn anew.
function draw(tape, t) {
  const back = t < seen.t || seen.drawnOf !== tape;
  if (back) {
    charts.clear();
    seen.drawn = 0;
    seen.drawnOf = tape;
  }
  let end = seen.drawn;
  while (end < tape.steps.length && tape.steps[end].t_ns <= t) end++;
  const many = end - seen.drawn > MANY;
  const lines = Object.values(charts.lines);
  if (many) for (const line of lines) line.hold();
  for (; seen.drawn < end; seen.drawn++) {
    const { draw: kind, row } = tape.steps[seen.drawn];
    if (kind === "market") charts.told(tape.kind, row);
    else if (kind === "point") charts.point(row.account);
    else if (kind === "fill") charts.fill(row);
    else charts.target(row.decision.ts_event_ns, row.decision.target);
  }
  if (many) for (const line of lines) line.release();
}

function drawFigures(tape, now) {
  const { strategy, account, position, price } = now;
  if (strategy) figures.strategy(strategy);
  const units = figures.unitsOf(strategy?.instrument_id ?? "", now.currency);
  if (account) figures.account(account, position, units, tape.first, charts.digits);
  else for (const id of ["position", "equity", "unrealized", "drawdown"]) put(id, "–");
  if (price) figures.price(price.value, charts.digits, price.ts_ns);
  figures.fills(now.fills, now.fees, now.currency);
  figures.outcome(now.decision);
}

function drawWhere(tape, t, now) {
  const all = tape.decisions.length;
  $("slider").value = t;
  const text = `${clock(t)} of ${clock(tape.end)}`;
  $("slider").setAttribute("aria-valuetext", `${text}, decision ${now.decisions} of ${all}`);
  const b = document.createElement("b");
  b.textContent = clock(t);
  const at = show.stamp(tape.overview.began_ns + t);
  $("where").replaceChildren(b, ` of ${clock(tape.end)} · decision ${show.number(now.decisions)} of ${show.number(all)}`);
  $("where").title = `recorded ${at} UTC`;
  strip.draw(t);
}

function drawTables(tape, t, now) {
  seen.tablesAt = performance.now();
  if (charts.dirty) charts.remark();
  const orders = tape.ordersAt(t, ROWS);
  table.orders(orders, charts.digits);
  $("orders-sum").textContent = `${orders.length}, ${orders.filter((o) => o.open).length} open`;
  table.fills(tape.newest("fills", t, ROWS), charts.digits);
  $("fills-sum").textContent = show.number(now.fills);
  table.put("decisions", tape.newestDecisions(t, ROWS).map((d) => table.row([
    [show.number(d.seq), "n"], [show.time(d.ts_event_ns), "", show.stamp(d.ts_event_ns)],
    [d.how === "action" ? d.agent_id : d.how ? "fallback" : "open", d.how === "fallback" ? "warn" : d.how ? "" : "aim", d.reason ?? ""],
    [d.target === null ? "–" : `${show.signed(d.target * 100, 0)} %`, `n ${show.tone(d.target)}`], [show.quantity(d.position_qty), "n"], [show.number(d.equity, 2), "n"],
  ])), "No decision yet");
  $("decisions-sum").textContent = `${show.number(now.decisions)} of ${show.number(tape.decisions.length)}`;
  const control = tape.newest("control", t, ROWS);
  table.put("control", control.map((c) => table.row([
    [show.time(c.ts_event_ns), "", show.stamp(c.ts_event_ns)], [c.done ? c.kind : `${c.kind}, refused`, c.kind === "halted" ? "down" : ""], [c.by], [c.reason || "–", "", c.reason],
  ])), "Nobody has intervened");
  $("control-sum").textContent = control.length ? show.number(control.length) : "";
}

function clock(ns) {
  const s = ns / 1e9;
  const [hours, minutes] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60)];
  const rest = (s % 60).toFixed(1).padStart(4, "0");
  return `${hours ? `${hours}:${String(minutes).padStart(2, "0")}` : minutes}:${rest}`;
}

// -- what is pressed -----------------------------------------------------------------------------

function controls() {
  const able = Boolean(seen.tape);
  for (const id of ["first", "back", "play", "next", "last"]) $(id).disabled = !able;
  if (!able) $("slider").disabled = true;
  $("play").dataset.playing = player.playing;
  $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
}

function toggle() {
  if (player.playing) player.pause();
  else player.play();
}

function jump(t) {
  player.pause();
  player.jump(t);
}

function speed(name) {
  player.speed = SPEEDS[name];
  for (const id of Object.keys(SPEEDS)) $(id).setAttribute("aria-pressed", String(id === name));
}

function other(by) {
  const at = seen.sessions.findIndex((s) => s.id === seen.name);
  const next = seen.sessions[at + by];
  if (next) location.hash = encodeURIComponent(next.id);
}

$("play").addEventListener("click", toggle);
$("first").addEventListener("click", () => jump(0));
$("last").addEventListener("click", () => jump(Infinity));
$("back").addEventListener("click", () => player.step(-1));
$("next").addEventListener("click", () => player.step(1));
$("slider").addEventListener("input", () => jump(Number($("slider").value)));
for (const id of Object.keys(SPEEDS)) $(id).addEventListener("click", () => speed(id));
addEventListener("hashchange", list);
controls();
list();
