// The WebSocket: by one-time ticket, resumed where it broke off, tried again with backoff.

import { key, post } from "/web/api.js";

const CHANNELS = ["market", "decisions", "actions", "orders", "fills", "control", "status"];
const FIRST_MS = 250;
const MOST_MS = 5000;

export class Feed {
  // `on` has: events(list), reset(), state(word), refused(error), dropped(total).
  constructor(on) {
    this.on = on;
    this.heard = 0; // when the last events came, of performance.now()
    this.frames = 0;
    this.feed = null;
    this.after = 0;
    this.wait = FIRST_MS;
    this.socket = null;
    this.timer = 0;
  }

  async connect() {
    clearTimeout(this.timer);
    this.on.state("connecting");
    try {
      const { ticket } = await post("ws-ticket");
      this.open(ticket);
    } catch (e) {
      if (e.status === 401 || e.status === 403) this.on.refused(e);
      else this.again();
    }
  }

  open(ticket) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws?ticket=${encodeURIComponent(ticket)}`);
    this.socket?.close();
    this.socket = socket;
    socket.onmessage = (m) => socket === this.socket && this.take(JSON.parse(m.data));
    socket.onclose = () => socket === this.socket && this.again();
  }

  take(said) {
    switch (said.op) {
      case "hello": {
        const same = this.feed === said.feed;
        this.wait = FIRST_MS;
        const wish = { op: "subscribe", channels: CHANNELS, conflate: false };
        if (same) wish.resume = { feed: this.feed, after: this.after };
        else this.after = said.n;
        this.socket.send(JSON.stringify(wish));
        if (!same) this.begin(said.feed);
        break;
      }
      case "reset":
        this.after = said.n;
        this.begin(said.feed);
        break;
      case "subscribed":
        this.on.state("live");
        break;
      case "events":
        this.heard = performance.now();
        this.frames += 1;
        this.after = said.to;
        this.on.events(said.events);
        break;
      case "dropped":
        this.on.dropped(said.total);
        break;
    }
  }

  begin(feed) {
    this.feed = feed;
    this.on.reset();
  }

  again() {
    this.socket = null;
    this.on.state("lost");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(MOST_MS, this.wait * 2);
  }

  // With another key: who comes is asked anew.
  rekey() {
    const old = this.socket;
    this.socket = null;
    old?.close();
    this.wait = FIRST_MS;
    if (key.get() !== null) this.connect();
  }
}
