// What is known of the grid: REST says what is so, the feed what has come since.

import { get, pages } from "/web/api.js";
import { priceOf } from "/web/chart.js";
import { digitsOf } from "/web/format.js";

const KEPT = 2000;
const FILLS = 10000; // as many as the gateway keeps
const KINDS = ["bar", "trade", "quote"];

export class Book {
  constructor(charts) {
    this.charts = charts;
    this.clear();
  }

  clear() {
    this.strategy = null;
    this.fills = new Map(); // by order and trade, oldest first
    this.fees = 0;
    this.currency = "";
    this.price = null;
    this.first = null; // equity where the chart begins
    this.outcome = null;
    this.digits = 2;
    this.decided = [0, 0];
    this.marketN = 0;
  }

  // Reads the past anew, then takes the events that came meanwhile.
  async load(waiting) {
    this.clear();
    this.charts.clear();
    const [strategies, topics] = await Promise.all([get("strategies"), get("market/topics")]);
    this.strategy = strategies[0] ?? null;
    const own = topics.filter((t) => !this.strategy?.instrument_id || t.instrument_id === this.strategy.instrument_id);
    const topic = KINDS.map((kind) => own.find((t) => t.kind === kind)).find(Boolean);
    const [accounts, market, decisions, fills] = await Promise.all([
      get("account"),
      topic ? pages(`market?topic=${encodeURIComponent(topic.topic)}`, KEPT) : [],
      pages("decisions", KEPT), pages("fills", FILLS),
    ]);
    for (const event of market.reverse()) this.market(event);
    // a peak above all that is kept lies before it
    const peak = accounts.find((a) => a.strategy_id === this.strategy?.strategy_id)?.peak_equity ?? 0;
    if (decisions.every((d) => d.equity < peak)) this.charts.peak = peak;
    for (const d of decisions.reverse()) this.decision(d);
    for (const f of fills.reverse()) this.fill(f);
    for (const event of waiting) this.take(event);
    this.charts.remark();
  }

  // Takes an event of the feed; returns whether the tables should be asked for again soon.
  take(event) {
    const { channel, type, data } = event;
    if (channel === "market") this.market(event);
    else if (type === "decision") this.decision({ ...data.account, ...data });
    else if (type === "outcome") this.ended(data);
    else if (type === "fill") this.fill(data);
    return ["orders", "fills", "control"].includes(channel) || type === "joined" || type === "took_over";
  }

  market(event) {
    const known = this.strategy?.instrument_id;
    if (event.n <= this.marketN || (known && event.data.instrument_id !== known)) return;
    this.marketN = event.n;
    const price = priceOf(event);
    if (price === null) return;
    const shown = event.type === "quote" ? event.data.bid_px : price;
    this.digits = Math.max(this.digits, digitsOf(shown));
    this.charts.digits = this.digits;
    this.price = { value: price, ts_ns: event.data.ts_event_ns };
    this.charts.market(event);
  }

  decision(d) {
    const [epoch, seq] = this.decided;
    if (d.epoch < epoch || (d.epoch === epoch && d.seq <= seq)) return;
    this.decided = [d.epoch, d.seq];
    this.first ??= d.equity;
    this.charts.point(d);
    if (d.how) this.ended(d);
  }

  ended(outcome) {
    this.outcome = outcome;
    this.charts.target(outcome.ts_event_ns, outcome.target);
  }

  fill(fill) {
    const name = `${fill.client_order_id}/${fill.trade_id}`;
    if (this.fills.has(name)) return;
    this.fills.set(name, fill);
    if (this.fills.size > FILLS) this.fills.delete(this.fills.keys().next().value);
    this.fees += fill.commission;
    this.currency = fill.currency;
    this.charts.fill(fill);
  }

  newestFills(n) {
    return [...this.fills.values()].slice(-n).reverse();
  }
}
