// A series in time, as the chart library wants it: whole seconds, ascending, the last of each.

const MOST = 5000;

export class Line {
  // `began` is called when time goes back: another life of the grid has begun.
  constructor(series, began = () => {}) {
    this.series = series;
    this.began = began;
    this.clear();
  }

  clear() {
    this.points = [];
    this.series.setData([]);
  }

  // Many points follow: they are drawn at once by `release`.
  hold() {
    this.held = true;
  }

  release() {
    this.held = false;
    this.fill(this.points);
  }

  get last() {
    return this.points[this.points.length - 1];
  }

  // Points oldest first; what lies before the last step back in time is left out.
  fill(points) {
    let kept = [];
    for (const point of points) {
      const last = kept[kept.length - 1];
      if (last && point.time < last.time) kept = [];
      if (last && point.time === last.time) kept.pop();
      kept.push(point);
    }
    this.points = kept.slice(-MOST);
    this.series.setData(this.points);
  }

  push(point) {
    const last = this.last;
    if (last && point.time < last.time) this.began();
    if (last && point.time === last.time) this.points.pop();
    this.points.push(point);
    if (this.held) return;
    if (this.points.length > 2 * MOST) this.fill(this.points);
    else this.series.update(point);
  }

  // The newest time of this line that is not after `time`, or its first one.
  floor(time) {
    let low = 0;
    let high = this.points.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.points[mid].time <= time) low = mid + 1;
      else high = mid;
    }
    return this.points[Math.max(0, low - 1)]?.time;
  }
}
