// Numbers and times for people: units said, digits fixed, UTC.

const none = "–";

const fixed = new Map();
export function number(value, digits = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  if (!fixed.has(digits)) {
    const places = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    fixed.set(digits, new Intl.NumberFormat("en-US", places));
  }
  return fixed.get(digits).format(value === 0 ? 0 : value).replace("-", "−");
}

export function quantity(value) {
  const digits = Number.isInteger(value) ? 0 : 4;
  return number(value, digits);
}

// Digits of a price follow from the market's own prices, so that a column does not jump.
export function digitsOf(price) {
  const text = String(price);
  return text.includes("e") ? 8 : Math.min(8, (text.split(".")[1] ?? "").length);
}

export const signed = (value, digits = 0) => (value > 0 ? "+" : "") + number(value, digits);
export const percent = (share, digits = 2) => (share === null || share === undefined ? none : `${number(share * 100, digits)} %`);

export function time(ns) {
  if (!ns) return none;
  return new Date(ns / 1e6).toISOString().slice(11, 19);
}

export function stamp(ns) {
  if (!ns) return none;
  return new Date(ns / 1e6).toISOString().slice(0, 19).replace("T", " ");
}

export function age(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return none;
  const s = Math.max(0, ms) / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

export function micros(us) {
  if (us === null || us === undefined) return none;
  return us < 1000 ? `${number(us)} µs` : `${number(us / 1000, 2)} ms`;
}

export const tone = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");

// Large counts in short: 12,480, 1.25 M.
export function short(value) {
  if (value === null || value === undefined) return none;
  return value < 1e6 ? number(value) : value < 1e9 ? `${number(value / 1e6, 2)} M` : `${number(value / 1e9, 2)} G`;
}

// Scores and rewards: three digits that matter.
export function figure(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return none;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2).replaceAll("-", "−");
  return number(value, size >= 100 ? 1 : size >= 1 ? 2 : 4);
}

export function duration(s) {
  if (s === null || s === undefined || !Number.isFinite(s)) return none;
  if (s < 120) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  const minutes = Math.round(s / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
