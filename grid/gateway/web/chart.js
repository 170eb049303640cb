// Four panes on one axis of time: price with decisions and fills, position, equity, drawdown.

import * as lwc from "/web/vendor/lightweight-charts.mjs";
import { number, percent } from "/web/format.js";
import { Line } from "/web/line.js";
import { color } from "/web/theme.js";

const SECOND_NS = 1e9;
const MARKS = 600;
export const seconds = (ns) => Math.floor(ns / SECOND_NS);

const KINDS = { bar: 0, trade: 1, quote: 2 }; // of a market, the first that there is
const BUCKET_S = 60; // candles made of trades and quotes

export class Charts {
  constructor(box) {
    this.chart = lwc.createChart(box, { autoSize: true, ...look() });
    const add = (kind, options, pane) => this.chart.addSeries(kind, { priceLineVisible: false, ...options }, pane);
    const places = { type: "custom", minMove: 0.00001, formatter: (v) => number(v, this.digits ?? 2) };
    this.candles = add(lwc.CandlestickSeries, { borderVisible: false, priceFormat: places }, 0);
    const whole = { type: "custom", minMove: 0.0001, formatter: (v) => number(v) };
    this.position = add(lwc.LineSeries, { lineType: 1, lineWidth: 2, title: "position", priceFormat: whole }, 1);
    const money = { type: "custom", minMove: 0.01, formatter: (v) => number(v, 2) };
    this.equity = add(lwc.AreaSeries, { lineWidth: 2, title: "equity", priceFormat: money }, 2);
    const share = { type: "custom", minMove: 0.000001, formatter: (v) => percent(v, 3) };
    this.drawdown = add(lwc.AreaSeries, { lineWidth: 1, title: "drawdown", invertFilledArea: true, priceFormat: share }, 3);
    [5, 2, 2, 1.6].forEach((part, i) => this.chart.panes()[i].setStretchFactor(part));
    for (const series of [this.equity, this.drawdown, this.position])
      series.priceScale().applyOptions({ scaleMargins: { top: 0.18, bottom: 0.18 } });
    this.marks = lwc.createSeriesMarkers(this.candles, []);
    const anew = () => this.clear();
    this.lines = {
      price: new Line(this.candles, anew),
      position: new Line(this.position),
      equity: new Line(this.equity, anew),
      drawdown: new Line(this.drawdown),
    };
    this.clear();
    this.paint();
  }

  clear() {
    for (const line of Object.values(this.lines)) line.clear();
    this.fills = [];
    this.targets = [];
    this.peak = -Infinity;
    this.kind = null;
    this.remark();
  }

  paint() {
    const [buy, sell, accent] = ["buy", "sell", "accent"].map(color);
    this.chart.applyOptions(look());
    this.candles.applyOptions({ upColor: buy, downColor: sell, wickUpColor: buy, wickDownColor: sell });
    this.position.applyOptions({ color: color("warn") });
    this.equity.applyOptions({ lineColor: accent, topColor: `${accent}44`, bottomColor: `${accent}08` });
    this.drawdown.applyOptions({ lineColor: sell, topColor: `${sell}10`, bottomColor: `${sell}44` });
    this.remark();
  }

  // A market event; returns its price, or null where it shows none.
  market(event) {
    const price = priceOf(event);
    if (price === null) return null;
    if (this.kind === null || KINDS[event.type] < KINDS[this.kind]) {
      if (this.kind !== null) this.lines.price.clear();
      this.kind = event.type;
    }
    if (event.type !== this.kind) return price;
    const candle = this.candle(event, price);
    if (event.type === "bar") this.lines.price.push(candle);
    else {
      const last = this.lines.price.last;
      if (last?.time === candle.time) {
        candle.open = last.open;
        candle.high = Math.max(last.high, price);
        candle.low = Math.min(last.low, price);
      }
      this.lines.price.push(candle);
    }
    return price;
  }

  candle({ type, data }, price) {
    const time = seconds(data.ts_event_ns);
    if (type === "bar") return { time, open: data.open, high: data.high, low: data.low, close: data.close };
    return { time: time - (time % BUCKET_S), open: price, high: price, low: price, close: price };
  }

  // A candle of a recording, made of one event or several.
  told(kind, { ts_event_ns, open, high, low, close }) {
    this.kind = kind;
    const at = seconds(ts_event_ns);
    const candle = { time: kind === "bar" ? at : at - (at % BUCKET_S), open, high, low, close };
    const last = this.lines.price.last;
    if (kind !== "bar" && last?.time === candle.time) {
      candle.open = last.open;
      candle.high = Math.max(last.high, high);
      candle.low = Math.min(last.low, low);
    }
    this.lines.price.push(candle);
  }

  point({ ts_event_ns, equity, position_qty }) {
    const time = seconds(ts_event_ns);
    this.lines.equity.push({ time, value: equity });
    this.lines.position.push({ time, value: position_qty });
    this.peak = Math.max(this.peak, equity);
    this.lines.drawdown.push({ time, value: this.peak > 0 ? Math.min(0, equity / this.peak - 1) : 0 });
  }

  fill(fill) {
    // the venue's clock may be another than the market's: a replay of old data, filled today
    this.fills.push({ time: seconds(fill.ts_market_ns || fill.ts_event_ns), side: fill.side });
    this.fills.splice(0, this.fills.length - MARKS);
    this.dirty = true;
  }

  // What is aimed at from a decision on; only changes are marked.
  target(ts_event_ns, target) {
    if (target === null || target === undefined) return;
    if (this.targets[this.targets.length - 1]?.target === target) return;
    this.targets.push({ time: seconds(ts_event_ns), target });
    this.targets.splice(0, this.targets.length - MARKS);
    this.dirty = true;
  }

  // Arrows that fall on one candle are one arrow with their number.
  remark() {
    this.dirty = false;
    const line = this.lines.price;
    if (!line.points.length) return this.marks.setMarkers([]);
    const found = new Map();
    for (const { time, side } of this.fills) {
      const at = line.floor(time);
      const name = `${at} ${side}`;
      found.set(name, { at, side, n: (found.get(name)?.n ?? 0) + 1 });
    }
    const arrows = [...found.values()].map(({ at, side, n }) => ({
      time: at,
      position: side === "BUY" ? "belowBar" : "aboveBar",
      shape: side === "BUY" ? "arrowUp" : "arrowDown",
      color: color(side === "BUY" ? "buy" : "sell"),
      text: n > 1 ? String(n) : "",
    }));
    const aims = new Map(this.targets.map(({ time }) => [line.floor(time), null]));
    const dots = [...aims.keys()].map((time) => ({ time, position: "inBar", shape: "circle", color: `${color("accent")}90`, size: 0.4 }));
    this.marks.setMarkers([...dots, ...arrows].sort((a, b) => a.time - b.time));
  }
}

export function priceOf({ type, data }) {
  if (type === "bar") return data.close;
  if (type === "trade") return data.price;
  if (type === "quote") return (data.bid_px + data.ask_px) / 2;
  return null;
}

function look() {
  const line = color("line");
  return {
    layout: { background: { color: "transparent" }, textColor: color("dim"), fontSize: 11, attributionLogo: true, panes: { separatorColor: line, enableResize: true } },
    grid: { vertLines: { color: `${line}66` }, horzLines: { color: `${line}66` } },
    rightPriceScale: { borderColor: line, minimumWidth: 84 },
    timeScale: { borderColor: line, timeVisible: true, secondsVisible: false, rightOffset: 4 },
    crosshair: { mode: 0 },
    localization: { locale: "en-GB", dateFormat: "yyyy-MM-dd" },
  };
}
