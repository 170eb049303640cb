// The page of training grids: follows what runs, shows what has ended.

import { get, pages } from "/web/api.js";
import { Curves } from "/web/curves.js";
import * as show from "/web/format.js";
import { Page, chosen, put } from "/web/page.js";
import * as table from "/web/tables.js";

const POLL_MS = 1000;
const REST_MS = 5000; // where nothing runs
const MOST = 2000; // trials on the page
const LISTED = 30; // grids
const FAILURES = 50;
const PHASES = ["running", "waiting", "done", "pruned", "failed"];
const WORDS = { complete: "complete", budget: "budget used up", interrupted: "interrupted", stopped: "stopped", abandoned: "not running", damaged: "damaged", running: "running" };
const TONES = { running: "up", damaged: "down", stopped: "down", abandoned: "warn", interrupted: "warn" };

const $ = (id) => document.getElementById(id);
const seen = { name: "", revision: null, detail: null, trials: [], curves: [], figure: "reward", timer: 0, turn: 0, grids: [], more: false, listDue: 0 };
const curves = new Curves($("curves"), pointed);
const page = new Page({
  begin,
  paint: () => curves.draw(),
  keys: { n: () => step(1), p: () => step(-1), w: () => figure("reward"), s: () => figure("score") },
});

// -- what is asked for ---------------------------------------------------------------------------

function begin() {
  seen.revision = null;
  seen.listDue = 0;
  turn();
}

async function turn() {
  clearTimeout(seen.timer);
  const mine = ++seen.turn;
  if (document.hidden) return void (seen.timer = setTimeout(turn, POLL_MS));
  const found = await page.asked(() => read(mine));
  if (mine !== seen.turn) return;
  if (found === null && page.error?.status === 409) damaged(page.error.message);
  const rests = seen.detail?.grid.state !== "running" && seen.detail?.verdict.state !== "judging";
  seen.timer = setTimeout(turn, rests ? REST_MS : POLL_MS);
}

async function read(mine) {
  if (performance.now() > seen.listDue) {
    const { items, next } = await get(`training?limit=${LISTED}`);
    if (mine !== seen.turn) return true;
    Object.assign(seen, { grids: items, more: Boolean(next), listDue: performance.now() + REST_MS });
  }
  const wish = chosen();
  seen.name = seen.grids.some((g) => g.name === wish) || (wish && seen.more) ? wish : (seen.grids[0]?.name ?? "");
  drawList();
  if (!seen.name) return true;
  const at = encodeURIComponent(seen.name);
  const detail = await get(`training/${at}`);
  if (mine !== seen.turn) return true;
  const revision = `${seen.name} ${detail.grid.revision}`;
  seen.detail = detail;
  seen.grids = seen.grids.map((g) => (g.name === seen.name ? detail.grid : g)); // it knows more by now
  drawList();
  drawDetail(detail);
  if (revision === seen.revision) return true;
  const [trials, lines, failures] = await Promise.all([
    pages(`training/${at}/trials`, MOST), pages(`training/${at}/curves`, MOST), get(`training/${at}/failures?limit=${FAILURES}`),
  ]);
  if (mine !== seen.turn) return true;
  seen.revision = revision;
  seen.trials = trials;
  seen.curves = lines.reverse();
  drawTrials();
  drawCurves();
  drawFailures(failures);
  document.body.dataset.revision = detail.grid.revision; // tests wait for it
  return true;
}

// -- what is shown -------------------------------------------------------------------------------

function drawList() {
  const items = seen.grids.map((g) => {
    const li = document.createElement("li");
    const a = document.createElement("a");
    const head = document.createElement("b");
    const word = document.createElement("span");
    const small = document.createElement("small");
    a.href = `#${encodeURIComponent(g.name)}`;
    if (g.name === seen.name) a.setAttribute("aria-current", "true");
    word.textContent = WORDS[g.state];
    word.className = TONES[g.state] ?? "";
    head.append(g.name, word);
    small.textContent = g.state === "damaged" ? g.why : `${done(g)} of ${g.trials} trials · ${show.stamp(g.changed_ns).slice(5, 16)}`;
    a.append(head, small);
    li.append(a);
    return li;
  });
  if (!items.length) {
    const li = document.createElement("li");
    li.className = "none";
    li.textContent = "No training grid yet: launch.py grid run FILE begins one";
    items.push(li);
  }
  const focused = document.activeElement?.getAttribute?.("href");
  $("grids").replaceChildren(...items);
  if (focused) $("grids").querySelector(`a[href="${CSS.escape(focused).replace("\\#", "#")}"]`)?.focus({ preventScroll: true });
  $("grids-sum").textContent = seen.grids.length ? `${seen.grids.length}${seen.more ? " newest" : ""}` : "";
}

const done = (g) => g.phases?.done ?? 0;

function drawDetail({ grid: g, ...d }) {
  put("grid", g.name, "grid-name");
  document.title = `${g.name} · Training · Argonaut`;
  put("state", WORDS[g.state], TONES[g.state] ?? "");
  put("state-why", g.why || `since ${show.stamp(g.began_ns).slice(5, 16)}`);
  $("state-why").title = g.why || show.stamp(g.began_ns);
  const many = g.trials > 999;
  put("done", many ? show.number(done(g)) : `${done(g)} of ${g.trials}`);
  const others = PHASES.filter((p) => p !== "done" && g.phases[p]);
  put("phases", (many ? `of ${show.number(g.trials)}: ` : "") + (others.map((p) => `${g.phases[p]} ${p}`).join(", ") || "all"));
  $("phases").title = $("phases").textContent;
  put("steps", show.short(g.steps));
  put("steps-of", `of ${show.number(g.total_steps)}`);
  put("speed", g.steps_per_s ? show.number(g.steps_per_s) : "–");
  put("speed-of", "decisions a second");
  put("eta", show.duration(g.eta_s));
  put("hours", `${show.duration(g.hours * 3600)} so far`);
  put("configurations", show.number(g.configurations));
  put("design", `× ${g.folds} ${g.folds === 1 ? "fold" : "folds"} × ${g.seeds} ${g.seeds === 1 ? "seed" : "seeds"}`);
  put("objective", g.objective);
  put("best", show.figure(d.best?.score));
  put("best-of", d.best ? `${d.best.params} (validation)` : "none is done");
  $("best-of").title = d.best ? `${d.best.configuration}: ${d.best.params}` : "";
  put("deaths", show.number(g.failures), g.failures ? "warn" : "");
  put("deaths-of", g.phases.failed ? `${g.phases.failed} given up` : g.failures ? "all tried again" : "\u00a0");
  $("progress").value = g.total_steps ? g.steps / g.total_steps : 0;
  drawVerdict(d.verdict);
  drawSpans(d);
}

function drawVerdict(v) {
  const line = v.state === "none" && !v.source && v.line.startsWith("No verdict: grid") ? "Nothing can be judged: no configuration is done on all folds and seeds." : v.line;
  if ($("verdict").textContent !== line) $("verdict").textContent = line;
  document.querySelector(".verdict").dataset.grade = v.grade ?? "";
  $("verdict-from").textContent =
    v.source === "report" ? `from the report of ${show.stamp(v.made_ns)} UTC`
    : v.source === "quick" ? `without baselines; launch.py grid report ${seen.name} plays them` : "";
  $("reasons-box").hidden = !v.reasons.length;
  if ($("reasons").childElementCount !== v.reasons.length) $("reasons").replaceChildren();
  v.reasons.forEach((reason, i) => {
    const li = $("reasons").children[i] ?? $("reasons").appendChild(document.createElement("li"));
    li.textContent = reason;
  });
}

// Days where they begin at midnight, else minutes; the year once where it is the same.
const short = (iso) => iso.replace("T", " ").slice(0, 16).replace(/ 00:00$/, "");
const span = ([from, to]) => `${short(from)} to ${short(to).slice(from.slice(0, 4) === to.slice(0, 4) ? 5 : 0)}`;

function drawSpans(d) {
  const facts = Object.entries(d.axes);
  if (d.holdout) facts.push(["holdout", `${span(d.holdout)}, ${d.opened ? `opened for ${d.opened}` : "shut"}`]);
  facts.push(["seeds", d.seed_values.join(", ")]);
  $("axes").replaceChildren(...facts.flatMap(([name, text]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = name;
    dd.textContent = text;
    return [dt, dd];
  }));
  table.put("spans", d.spans.map((f, i) => table.row([[String(i)], [span(f.train)], [span(f.validation)], [span(f.test)]])), "–");
}

const RANKS = {
  phase: (a, b) => PHASES.indexOf(a.phase) - PHASES.indexOf(b.phase) || a.n - b.n,
  score: (a, b) => (b.score ?? -Infinity) - (a.score ?? -Infinity) || a.n - b.n,
  n: (a, b) => a.n - b.n,
};
const PHASE_TONES = { running: "up", pruned: "warn", failed: "down", waiting: "" };

function drawTrials() {
  const sorted = [...seen.trials].sort(RANKS[$("order").value]);
  table.put("trials", sorted.map((t) => {
    const tr = table.row([
      [t.id], [t.params, "wide", t.params], [String(t.fold), "n"], [String(t.seed), "n"],
      [t.doing && t.doing !== "training" ? t.doing : t.phase, PHASE_TONES[t.phase] ?? "", t.why ?? ""],
      [show.number(t.steps), "n share", `of ${show.number(t.total_steps)}`], [show.number(t.steps_per_s), "n"],
      [show.figure(t.reward), "n"], [show.figure(t.score), "n"], [show.number(t.retries), t.retries ? "n warn" : "n"], [show.duration(t.eta_s), "n"],
    ]);
    tr.dataset.trial = t.id;
    tr.querySelector(".share").style.setProperty("--share", `${Math.min(100, (100 * t.steps) / t.total_steps)}%`);
    return tr;
  }), "No trial has been proposed yet");
  const all = seen.detail.grid.trials;
  $("trials-sum").textContent = seen.trials.length < all ? `${seen.trials.length} of ${all}: those that start last` : String(all);
  light(curves.lit);
}

function drawCurves() {
  curves.show(seen.curves.map((c) => ({ ...c, points: c[seen.figure] })));
  const thinned = seen.curves.reduce((n, c) => n + c.left_out, 0);
  const what = seen.figure === "reward" ? "mean reward of the last episodes" : `${seen.detail.grid.objective} on the validation span`;
  $("curves-sum").textContent = `${what}, by decisions${thinned ? `; thinned by ${show.number(thinned)} points` : ""}`;
  for (const name of ["reward", "score"]) $(`by-${name}`).setAttribute("aria-pressed", String(name === seen.figure));
  if (!curves.lit) pointed(null);
}

function pointed(at) {
  const curve = at && seen.curves.find((c) => c.trial === at.trial);
  $("reading").textContent = curve
    ? `${at.trial} (${curve.params}), ${curve.phase}: ${seen.figure} ${show.figure(at.value)} after ${show.number(at.steps)} decisions`
    : `${$("curves").dataset.lines ?? 0} lines, a colour each configuration; point at one to name it`;
  light(at?.trial ?? null);
}

function light(trial) {
  for (const tr of $("trials").rows) tr.classList.toggle("lit", tr.dataset.trial === trial);
}

function drawFailures({ items, next }) {
  const open = new Set([...$("failures").querySelectorAll("details[open]")].map((d) => d.dataset.n));
  const boxes = items.map((f) => {
    const box = document.createElement("details");
    const [head, name, log] = ["summary", "b", "pre"].map((tag) => document.createElement(tag));
    box.dataset.n = f.n;
    box.open = open.has(String(f.n)) || (!open.size && f === items[0]);
    name.textContent = f.trial;
    const end = document.createElement("span");
    end.className = f.again ? "warn" : "down";
    end.textContent = f.again ? "tried again" : "given up";
    // what a process died of stands last; a line with a time is only what it did before
    const last = f.log.trimEnd().split("\n").pop();
    const of = last && !/^\d{4}-\d\d-\d\dT/.test(last) ? ` (${last.slice(0, 200)})` : "";
    head.append(name, `attempt ${f.attempt}, ${show.stamp(f.at_ns)}: ${f.why}${of}; `, end);
    log.textContent = f.log.trimEnd() || "it has logged nothing";
    box.append(head, log);
    return box;
  });
  if (!boxes.length) {
    const none = document.createElement("div");
    none.className = "none";
    none.textContent = "No trial has died";
    boxes.push(none);
  }
  $("failures").replaceChildren(...boxes);
  $("failures-sum").textContent = items.length ? `${items.length}${next ? " newest" : ""}, with their last log lines` : "";
}

function damaged(why) {
  put("grid", seen.name, "grid-name");
  put("state", "damaged", "down");
  put("state-why", why);
  $("verdict").textContent = why;
}

// -- what is pressed -----------------------------------------------------------------------------

function figure(name) {
  seen.figure = name;
  if (seen.detail) drawCurves();
}

function step(by) {
  const at = seen.grids.findIndex((g) => g.name === seen.name);
  const next = seen.grids[at + by];
  if (next) location.hash = encodeURIComponent(next.name);
}

$("by-reward").addEventListener("click", () => figure("reward"));
$("by-score").addEventListener("click", () => figure("score"));
$("order").addEventListener("change", () => seen.detail && drawTrials());
$("trials").addEventListener("pointerover", (e) => curves.light(e.target.closest("tr")?.dataset.trial ?? null));
$("trials").addEventListener("pointerleave", () => curves.light(null));
addEventListener("hashchange", begin);
begin();
