// An agent that trades with the last move of the market: docs/protocol.md, section 8, in Node.js.
// node client.mjs EVENTS_OUT REQUESTS STRATEGY AGENT SPEC_DIGEST INSTRUMENT
import { setTimeout as sleep } from "node:timers/promises"
import { decode, encode } from "@msgpack/msgpack"
import { Request, Subscriber } from "zeromq"

const [eventsOut, requests, strategy, agent, digest, instrument] = process.argv.slice(2)
const counts = { fills: 0, hellos: 0 }
let socket, lease, actionSeq, source, epoch, lastRow, closes

// Each request has one reply; without one in time, the same bytes go out again on a new socket.
async function ask(...message) {
  for (const bytes = encode(message); ; socket = undefined) {
    if (!socket) {
      socket = new Request({ receiveTimeout: 1000, sendTimeout: 1000, linger: 0 })
      socket.connect(requests)
    }
    try {
      await socket.send(bytes)
      return decode((await socket.receive())[0])
    } catch { socket.close() }
  }
}

// A welcome has a lease, and all rows up to `lastRow`; from there on none may be missing.
async function hello() {
  for (;;) {
    const reply = await ask("hello", strategy, agent, "champion", digest, 1, "example:node")
    if (reply[0] === "welcome") {
      let history
      ;[, , , , , lease, source, epoch, lastRow, history] = reply
      ;[actionSeq, closes] = [0, history.map((row) => row[7])]
      return void counts.hellos++
    }
    if (!reply[2]) throw new Error(reply[1])
    await sleep(500)
  }
}

async function act([, , decisionEpoch, seq, , , marketSeq]) {
  if (marketSeq > lastRow) return hello() // a row was lost; one could fetch it, too
  if (marketSeq < lastRow || closes.length < 2) return
  const target = Math.sign(closes.at(-1) - closes.at(-2))
  const answer = await ask("action", strategy, decisionEpoch, seq, agent, lease, ++actionSeq, target)
  counts[answer[1]] = (counts[answer[1]] ?? 0) + 1
  if (answer[1] === "fenced") await hello()
}

const events = new Subscriber({ linger: 0 })
events.connect(eventsOut)
events.subscribe(`md.${instrument}.bar\0`, `decision.${strategy}\0`, `exec.${strategy}\0`, "sys.")
await hello()
for await (const [frame] of events) {
  const [version, from, fromEpoch, seq, , body] = decode(frame.subarray(frame.indexOf(0) + 1))
  if (version !== 1 || from !== source || fromEpoch < epoch) continue
  if (fromEpoch > epoch || (body[0] === "bar" && seq > lastRow + 1)) await hello()
  else if (body[0] === "bar" && seq === lastRow + 1) [lastRow, closes] = [seq, [closes.at(-1), body[7]]]
  else if (body[0] === "decision") await act(body)
  else if (body[0] === "beat") await ask("renew", strategy, agent, lease)
  else if (body[0] === "fill") counts.fills++
  else if (body[0] === "end") break
}
console.log(JSON.stringify(counts))
process.exit(0)
