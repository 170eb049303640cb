// The whole session under its slider: equity, where it was halted, where it traded.

import { color } from "/web/theme.js";

const TICKS = 2000;

export class Strip {
  constructor(canvas) {
    this.canvas = canvas;
    this.tape = null;
    new ResizeObserver(() => this.draw(this.t ?? 0)).observe(canvas);
  }

  load(tape) {
    this.tape = tape;
    this.points = tape.moments.filter(({ row }) => row.account).map(({ t_ns, row }) => [t_ns, row.account.equity]);
    this.halts = [];
    for (const { t_ns, row } of tape.moments) {
      const open = this.halts[this.halts.length - 1];
      if (row.strategy.halted && !(open && open[1] === null)) this.halts.push([t_ns, null]);
      else if (!row.strategy.halted && open && open[1] === null) open[1] = t_ns;
    }
  }

  draw(t) {
    this.t = t;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const tape = this.tape;
    if (!tape || !tape.end) return;
    const c = this.canvas.getContext("2d");
    c.scale(ratio, ratio);
    const x = (at) => (at / tape.end) * width;
    c.fillStyle = `${color("line")}88`;
    c.fillRect(0, 0, width, height);
    c.fillStyle = `${color("sell")}33`;
    for (const [from, to] of this.halts) c.fillRect(x(from), 0, Math.max(1, x(to ?? tape.end) - x(from)), height);
    c.fillStyle = `${color("accent")}22`;
    c.fillRect(0, 0, x(t), height);
    const every = Math.ceil(tape.fills.length / TICKS) || 1;
    for (let i = 0; i < tape.fills.length; i += every) {
      const buys = tape.fills[i].row.side === "BUY";
      c.fillStyle = color(buys ? "buy" : "sell");
      c.fillRect(x(tape.fills[i].t_ns), buys ? height - 4 : 0, 1, 4);
    }
    const [low, high] = this.points.reduce(([a, b], [, v]) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    c.strokeStyle = color("accent");
    c.lineWidth = 1.2;
    c.beginPath();
    for (const [at, value] of this.points) c.lineTo(x(at), 6 + ((high - value) / (high - low || 1)) * (height - 12));
    c.stroke();
  }
}
