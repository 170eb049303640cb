// The clock of a recording: plays, pauses, jumps. What is shown at a time is others' concern.

const MAX_FRAMES = 900; // a whole session at the greatest speed: some 15 s

export class Player {
  // `moved` is called with the time since the recording began, in ns, and whether it was a jump.
  constructor(moved, changed) {
    this.moved = moved;
    this.changed = changed;
    this.speed = 1;
    this.tape = null;
    this.t = 0;
    this.playing = false;
  }

  load(tape) {
    this.tape = tape;
    this.t = 0;
    this.playing = false;
    this.changed();
  }

  play() {
    if (!this.tape || this.playing) return;
    if (this.t >= this.tape.end) this.jump(0);
    this.playing = true;
    this.before = performance.now();
    this.changed();
    requestAnimationFrame((now) => this.frame(now));
  }

  pause() {
    this.playing = false;
    this.changed();
  }

  frame(now) {
    if (!this.playing) return;
    const passed = Math.min(1000, Math.max(0, now - this.before)) * 1e6;
    this.before = now;
    const next = this.speed === "max" ? this.tape.step(this.t, Math.ceil(this.tape.decisions.length / MAX_FRAMES)) : this.t + passed * this.speed;
    this.t = Math.min(this.tape.end, Math.round(next));
    this.moved(this.t, false);
    if (this.t >= this.tape.end) this.pause();
    else requestAnimationFrame((later) => this.frame(later));
  }

  jump(t) {
    if (!this.tape) return;
    this.t = Math.round(Math.min(this.tape.end, Math.max(0, t)));
    this.moved(this.t, true);
  }

  step(by) {
    if (!this.tape) return;
    this.pause();
    this.jump(this.tape.step(this.t, by));
  }
}
