// A recorded session in the browser: all rows that the API tells, and what was so at a time.

import { get } from "/web/api.js";

const ROWS = 2000; // of a page
const LISTS = ["moments", "decisions", "fills", "orders", "control"];
const TURNS = 30;
const TURN_MS = 1000;
const CHART = 5000; // points of a line; of more, every so many are drawn

// How many rows of a list, which is in order, are not after t.
export function upTo(list, t) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const mid = (low + high) >> 1;
    if (list[mid].t_ns <= t) low = mid + 1;
    else high = mid;
  }
  return low;
}

// The key may be used so many times a second: then it waits for its turn.
async function patient(path) {
  for (let left = TURNS; ; left--) {
    try {
      return await get(path);
    } catch (e) {
      if (e.status !== 429 || !left) throw e;
      await new Promise((done) => setTimeout(done, TURN_MS));
    }
  }
}

async function all(path) {
  const found = [];
  for (let cursor = 0; cursor !== null; ) {
    const page = await patient(`${path}${path.includes("?") ? "&" : "?"}limit=${ROWS}&cursor=${cursor}`);
    found.push(...page.items);
    cursor = page.next;
  }
  return found;
}

export class Tape {
  constructor(overview) {
    this.overview = overview;
    this.end = overview.t_ns;
  }

  async load() {
    const { id, topic, topics } = this.overview;
    const root = `sessions/${encodeURIComponent(id)}`;
    this.kind = topics.find((t) => t.topic === topic)?.kind ?? null;
    const [market, ...lists] = await Promise.all([
      topic ? all(`${root}/market?topic=${encodeURIComponent(topic)}`) : [], ...LISTS.map((name) => all(`${root}/${name}`)),
    ]);
    this.market = market;
    LISTS.forEach((name, i) => (this[name] = lists[i]));
    let fees = 0;
    this.fees = this.fills.map(({ row }) => (fees += row.commission));
    this.first = this.moments.find(({ row }) => row.account)?.row.account.equity ?? null;
    this.stride = Math.max(1, Math.ceil(this.decisions.length / CHART));
    this.steps = this.merged();
    return this;
  }

  // All that the charts draw, in order of time.
  merged() {
    const points = this.moments.filter(({ row }) => row.cause === "decision" && row.account);
    const found = [
      ...this.market.map((e) => ({ ...e, draw: "market" })),
      ...points.filter((_, i) => i % this.stride === 0).map((e) => ({ ...e, draw: "point" })),
      ...this.fills.map((e) => ({ ...e, draw: "fill" })),
      ...this.decisions.filter(({ row }) => row.ended_ns !== null).map((e) => ({ ...e, t_ns: e.row.ended_ns, draw: "ended" })),
    ];
    return found.sort((a, b) => a.t_ns - b.t_ns || a.n - b.n);
  }

  // What was so at a time, with all that happened then: as the API's `at` has it.
  at(t) {
    const last = (list) => list[upTo(list, t) - 1]?.row ?? null;
    const moment = last(this.moments);
    const candle = last(this.market);
    const fills = upTo(this.fills, t);
    const decisions = upTo(this.decisions, t);
    return {
      strategy: moment?.strategy ?? null, account: moment?.account ?? null, position: moment?.position ?? null,
      price: candle && { value: candle.close, ts_ns: candle.ts_event_ns },
      decisions, decision: decisions ? this.decisionAt(decisions - 1, t) : null,
      fills, fees: fills ? this.fees[fills - 1] : 0, currency: fills ? this.fills[fills - 1].row.currency : "",
    };
  }

  // A decision as it was known at a time: it may have been open still.
  decisionAt(i, t) {
    const { decision, ended_ns } = this.decisions[i].row;
    if (ended_ns !== null && ended_ns <= t) return decision;
    return { ...decision, how: null, target: null, agent_id: null, reason: null };
  }

  newestDecisions(t, n) {
    const count = upTo(this.decisions, t);
    const from = Math.max(0, count - n);
    return Array.from({ length: count - from }, (_, i) => this.decisionAt(count - 1 - i, t));
  }

  newest(name, t, n) {
    const count = upTo(this[name], t);
    return this[name].slice(Math.max(0, count - n), count).map(({ row }) => row).reverse();
  }

  // The newest orders as they were at a time.
  ordersAt(t, n) {
    const found = new Map();
    for (let i = upTo(this.orders, t) - 1; i >= 0 && found.size < n; i--) {
      const { row } = this.orders[i];
      if (!found.has(row.client_order_id)) found.set(row.client_order_id, row);
    }
    return [...found.values()].sort((a, b) => b.n - a.n);
  }

  // The time of the decision `by` further on; the end or the beginning where there is none.
  step(t, by) {
    const passed = upTo(this.decisions, t);
    const on = passed > 0 && this.decisions[passed - 1].t_ns === t;
    const at = by > 0 ? passed - 1 + by : passed - 1 + by + (on ? 0 : 1);
    if (at < 0) return 0;
    return at < this.decisions.length ? this.decisions[at].t_ns : this.end;
  }
}
