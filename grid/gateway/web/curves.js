// Many lines over decisions on one canvas; the one that is pointed at stands out and is named.

import { number } from "/web/format.js";
import { color } from "/web/theme.js";

const LEFT = 58;
const BOTTOM = 24;
const TOP = 10;
const RIGHT = 14;
const NEAR_PX = 40;
const PALETTE = ["#58b0ff", "#f2b84b", "#2fc48d", "#c78bff", "#ff8a65", "#4dd0e1", "#f06292", "#aed581"];
const DEEP = ["#0b66c3", "#a86400", "#0a7d52", "#7b3fc4", "#c04a1c", "#00808f", "#b8235f", "#4e7d14"];

// Round numbers, about `n` of them, between low and high.
function ticks(low, high, n) {
  const rough = (high - low) / n || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(at);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

export class Curves {
  // `pointed` is called with a trial's id, its figure and its steps, or with null.
  constructor(canvas, pointed) {
    this.canvas = canvas;
    this.pointed = pointed;
    this.lines = [];
    this.lit = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointermove", (e) => this.point(e.offsetX, e.offsetY));
    canvas.addEventListener("pointerleave", () => this.light(null));
    canvas.addEventListener("keydown", (e) => this.walk(e));
  }

  // Lines: {trial, configuration, points: [[steps, value], ...]}, colours by configuration.
  show(lines) {
    this.lines = lines.filter((line) => line.points.length);
    this.groups = [...new Set(lines.map((line) => line.configuration))].sort();
    this.canvas.dataset.lines = this.lines.length;
    const line = this.lines.find((l) => l.trial === this.lit);
    const at = line?.points.find(([s, v]) => s === this.at?.[0] && v === this.at?.[1]) ?? null;
    this.lit = undefined; // whatever stood out is told anew
    this.light(line ? line.trial : null, at);
  }

  light(trial, at = null) {
    if (trial === this.lit && at === this.at) return;
    this.lit = trial;
    this.at = at;
    this.draw();
    const line = this.lines.find((l) => l.trial === trial);
    const [steps, value] = line ? (at ?? line.points[line.points.length - 1]) : [];
    this.pointed(line ? { trial, steps, value } : null);
  }

  walk(e) {
    const move = { ArrowDown: 1, ArrowUp: -1, Home: -this.lines.length, End: this.lines.length }[e.key];
    if (!move || !this.lines.length) return;
    e.preventDefault();
    const before = this.lines.findIndex((l) => l.trial === this.lit);
    const next = Math.min(this.lines.length - 1, Math.max(0, before + move));
    this.light(this.lines[next].trial);
  }

  point(x, y) {
    let best = null;
    let near = NEAR_PX ** 2;
    for (const line of this.lines)
      for (const point of line.points) {
        const d = (this.x(point[0]) - x) ** 2 + (this.y(point[1]) - y) ** 2;
        if (d < near) [near, best] = [d, [line.trial, point]];
      }
    this.light(...(best ?? [null]));
  }

  scale(width, height) {
    const all = this.lines.flatMap((line) => line.points);
    const most = all.reduce((n, [steps]) => Math.max(n, steps), 1);
    let [low, high] = all.reduce(([a, b], [, v]) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    if (!(high > low)) [low, high] = [low - 1, high + 1];
    const room = (high - low) * 0.06;
    [low, high] = [low - room, high + room];
    this.x = (steps) => LEFT + (steps / most) * (width - LEFT - RIGHT);
    this.y = (value) => TOP + ((high - value) / (high - low)) * (height - TOP - BOTTOM);
    return { most, low, high };
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const c = this.canvas.getContext("2d");
    c.scale(ratio, ratio);
    c.font = '11px system-ui, "DejaVu Sans", sans-serif';
    c.fillStyle = color("dim");
    if (!this.lines.length) {
      c.textAlign = "center";
      c.fillText("No trial has told a figure yet", width / 2, height / 2);
      return;
    }
    const { most, low, high } = this.scale(width, height);
    this.axes(c, width, height, most, low, high);
    const shades = document.documentElement.dataset.theme === "light" ? DEEP : PALETTE;
    const crowded = this.lines.length > 60 ? 0.3 : 0.75;
    for (const line of [...this.lines].sort((a) => (a.trial === this.lit ? 1 : -1))) {
      const own = line.trial === this.lit;
      c.globalAlpha = own ? 1 : this.lit ? crowded * 0.35 : crowded;
      c.strokeStyle = c.fillStyle = shades[this.groups.indexOf(line.configuration) % shades.length];
      c.lineWidth = own ? 2.5 : 1.4;
      c.beginPath();
      for (const [steps, value] of line.points) c.lineTo(this.x(steps), this.y(value));
      c.stroke();
      const dots = own || line.points.length < 3 ? line.points : line.points.slice(-1);
      for (const [steps, value] of dots) {
        c.beginPath();
        c.arc(this.x(steps), this.y(value), own ? 3 : 2.2, 0, 7);
        c.fill();
      }
    }
    c.globalAlpha = 1;
  }

  axes(c, width, height, most, low, high) {
    c.strokeStyle = `${color("line")}88`;
    c.lineWidth = 1;
    const line = (x1, y1, x2, y2) => {
      c.beginPath();
      c.moveTo(x1, y1);
      c.lineTo(x2, y2);
      c.stroke();
    };
    const up = ticks(low, high, Math.max(2, height / 60));
    c.textAlign = "right";
    for (const value of up.found) {
      line(LEFT, this.y(value), width - RIGHT, this.y(value));
      c.fillText(number(value, up.digits), LEFT - 6, this.y(value) + 4);
    }
    const along = ticks(0, most, Math.max(2, width / 110));
    for (const steps of along.found) {
      line(this.x(steps), TOP, this.x(steps), height - BOTTOM);
      c.textAlign = steps === 0 ? "left" : this.x(steps) > width - 40 ? "right" : "center";
      c.fillText(number(steps), Math.min(this.x(steps), width - 4), height - 8);
    }
  }
}
