// Wires the page: who is here, what comes, what is pressed.

import { get, key, post } from "/web/api.js";
import { Book } from "/web/book.js";
import { Charts } from "/web/chart.js";
import * as dialogs from "/web/dialogs.js";
import * as door from "/web/door.js";
import { Feed } from "/web/feed.js";
import * as figures from "/web/figures.js";
import { age, number } from "/web/format.js";
import * as tables from "/web/tables.js";
import * as theme from "/web/theme.js";

const POLL_MS = 1000;
const SOON_MS = 150;
const LOG_MS = 3000;
const STALE_MS = 3000;
const LOG_LINES = 6;
const LATER_MS = 1000; // until the past is asked for again, where it did not come

const $ = (id) => document.getElementById(id);
const charts = new Charts($("chart"));
const book = new Book(charts);
const seen = { link: "connecting", dropped: 0, grid: "", may: false, loading: null, kept: null, busy: false, due: 0 };

const feed = new Feed({
  events: (events) => {
    document.body.dataset.frames = feed.frames;
    if (seen.kept) return seen.kept.push(...events);
    if (events.filter((e) => book.take(e)).length) soon(SOON_MS);
  },
  reset: load,
  state: (word) => {
    seen.link = word;
    aged();
  },
  refused: (e) => dialogs.askKey(e.message, enter),
  dropped: (total) => (seen.dropped = total),
});

// -- who is here ---------------------------------------------------------------------------------

async function begin() {
  try {
    const [who, grids] = await Promise.all([get("whoami"), get("grids")]);
    const own = grids.find((g) => g.mode) ?? grids[0];
    seen.grid = own?.name ?? "";
    seen.may = who.scopes.includes(who.mode);
    figures.who(seen.grid, who.mode);
    $("key").title = `Here as ${who.name}: ${who.scopes.join(", ")}`;
    feed.rekey();
  } catch (e) {
    if (door.isShut(e)) dialogs.askKey(key.get() ? e.message : "", enter);
    else setTimeout(begin, LATER_MS);
  }
}

async function enter(text) {
  await door.enter(text);
  begin();
}

// -- what comes ----------------------------------------------------------------------------------

async function load() {
  const mine = (seen.loading = {});
  seen.kept = [];
  try {
    await book.load(seen.kept);
    if (seen.loading !== mine) return;
    seen.kept = null;
    soon(0);
    logs();
  } catch {
    if (seen.loading === mine) setTimeout(() => seen.loading === mine && load(), LATER_MS);
  }
}

async function refresh() {
  clearTimeout(seen.timer);
  if (seen.busy || seen.kept || seen.link !== "live") return soon(POLL_MS);
  seen.busy = true;
  try {
    const paths = ["strategies", "account", "positions", "agents", "processes", "orders?limit=100", "gaps?limit=500"];
    const [strategies, accounts, positions, agents, processes, orders, gaps] = await Promise.all(paths.map(get));
    book.strategy = strategies[0] ?? null;
    const name = book.strategy?.strategy_id;
    draw(accounts.find((a) => a.strategy_id === name), positions.find((p) => p.strategy_id === name));
    const nowMs = Date.now();
    tables.agents(agents, nowMs);
    tables.processes(processes, nowMs);
    tables.orders(orders.items, book.digits);
    const open = orders.items.filter((o) => o.open).length;
    $("orders-sum").textContent = `${orders.items.length}${orders.next ? " newest" : ""}, ${open} open`;
    const lost = gaps.items.length + (gaps.next ? "+" : "");
    $("bus-sum").textContent = `${lost} ${lost === "1" ? "gap" : "gaps"}; dropped here ${seen.dropped}`;
  } catch (e) {
    if (e.status === 401) dialogs.askKey(e.message, enter);
  } finally {
    seen.busy = false;
    soon(POLL_MS);
  }
}

function soon(ms) {
  const due = performance.now() + ms;
  if (seen.timer && seen.due > performance.now() && seen.due <= due) return;
  clearTimeout(seen.timer);
  seen.due = due;
  seen.timer = setTimeout(refresh, ms);
}

function draw(account, position) {
  const s = book.strategy;
  if (!s) return;
  const units = figures.unitsOf(s.instrument_id, book.currency);
  figures.strategy(s);
  if (account) figures.account(account, position, units, book.first, book.digits);
  figures.fills(book.fills.size, book.fees, book.currency);
  figures.outcome(book.outcome);
  tables.fills(book.newestFills(100), book.digits);
  $("fills-sum").textContent = number(book.fills.size);
  for (const [verb, able] of [["halt", !s.halted], ["resume", s.halted], ["flatten", true]]) {
    $(verb).disabled = !(seen.may && able);
    $(verb).title = seen.may ? "" : "This key may not";
  }
}

async function logs() {
  clearTimeout(seen.logTimer);
  seen.logTimer = setTimeout(logs, LOG_MS);
  if (seen.link !== "live" || document.hidden) return;
  await get(`logs?limit=${LOG_LINES}`).then(tables.log, () => {});
}

// -- how old it is -------------------------------------------------------------------------------

function aged() {
  const old = feed.heard ? performance.now() - feed.heard : null;
  const stale = seen.link !== "live" || (old !== null && old > STALE_MS);
  const word = seen.link === "live" ? (stale ? "stale" : "live") : seen.link;
  $("link").dataset.state = word;
  $("link").textContent = { live: "live", stale: "no data", lost: "gateway lost", connecting: "connecting" }[word];
  document.body.toggleAttribute("data-stale", stale && feed.heard > 0);
  const what = word === "stale" ? "The grid is silent" : "The gateway is not reached, trying again";
  $("banner").hidden = !(stale && feed.heard > 0);
  $("banner").textContent = `${what}: what is shown is ${age(old)} old.`;
}

function tick() {
  aged();
  $("clock").textContent = `${new Date().toISOString().slice(0, 19).replace("T", " ")} UTC`;
  if (charts.dirty && !seen.kept) charts.remark();
  if (book.price && !seen.kept) figures.price(book.price.value, book.digits, book.price.ts_ns);
}

// -- what is pressed -----------------------------------------------------------------------------

const WORDS = {
  halt: ["Halt", "No action is carried out from then on. The position stays as it is."],
  resume: ["Resume", "Actions of the agent are carried out again."],
  flatten: ["Flatten", "The position is closed at the market, and the strategy halted."],
};

function control(verb) {
  const s = book.strategy;
  if (!s || $(verb).disabled) return;
  const [word, what] = WORDS[verb];
  const venue = $("mode").textContent;
  dialogs.confirm({
    title: `${word} grid ${seen.grid}?`,
    text: `Strategy ${s.strategy_id}, ${s.instrument_id}, ${venue}. ${what}`,
    word: `${word} ${seen.grid}`,
    done: async (reason) => {
      const reply = await post(`strategies/${encodeURIComponent(s.strategy_id)}/${verb}`, { reason });
      if (!reply.done) throw new Error(reply.reason || "it was not done");
      soon(0);
    },
  });
}

const keyDialog = () => dialogs.askKey("", enter);
const KEYS = { h: () => control("halt"), r: () => control("resume"), f: () => control("flatten"), t: theme.turn, k: keyDialog, "?": dialogs.shortcuts };

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || dialogs.isOpen()) return;
  // right after Esc a key still goes to the input of the dialog that has closed
  if (e.target.closest("input") && e.target.checkVisibility()) return;
  const act = KEYS[e.key];
  if (!act) return;
  e.preventDefault();
  act();
});
for (const verb of Object.keys(WORDS)) $(verb).addEventListener("click", () => control(verb));
$("theme").addEventListener("click", theme.turn);
$("key").addEventListener("click", keyDialog);
$("help").addEventListener("click", dialogs.shortcuts);

theme.start(() => charts.paint());
setInterval(tick, 250);
tick();
begin();
