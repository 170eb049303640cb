"""The processes of the benchmark of the gateway: clients, and a gateway of one frame an event.

`python -m agents.bench.gateway_ends clients URL CLIENTS SECONDS` prints one JSON object a client;
`... plain ADDRESSES PORT` is what a first draft of a gateway would be: each event encoded for each
client, a frame each.
"""

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import connect

from grid import wire
from grid.bus import Addresses, Subscriber, new_context

QUOTE = '"quote"'
WAIT_S = 30.0


async def _client(url: str, seconds: float) -> dict[str, Any]:
    """Count events, and take the age of the newest of each frame."""
    events, ages_ms, dropped = 0, [], 0
    async with connect(url, compression=None, max_size=None, max_queue=256) as socket:
        await socket.send('{"op":"subscribe","channels":["market"]}')
        began_s = last_s = 0.0
        while not began_s or time.monotonic() - began_s < seconds:
            try:
                text = str(await asyncio.wait_for(socket.recv(), WAIT_S if not began_s else 1.0))
            except TimeoutError:
                break
            found = text.count(f'"type":{QUOTE}')
            if found:
                last_s = time.monotonic()
                began_s = began_s or last_s
                events += found
                at = text.rindex('"ts_pub_ns":') + 12
                ages_ms.append((time.time_ns() - int(text[at : at + 19])) / 1e6)
            elif text.startswith('{"op":"dropped"'):
                dropped = json.loads(text)["total"]
    ages_ms.sort()
    return {
        "events": events,
        "seconds": last_s - began_s,
        "dropped": dropped,
        "p50_ms": ages_ms[len(ages_ms) // 2] if ages_ms else 0.0,
        "p99_ms": ages_ms[int(len(ages_ms) * 0.99)] if ages_ms else 0.0,
    }


async def clients(url: str, n: int, seconds: float) -> None:
    """Be `n` clients for so many seconds from the first event on."""
    print("there", flush=True)
    found = await asyncio.gather(*(_client(url, seconds) for _ in range(n)))
    print(json.dumps(found), flush=True)


def plain(addresses: Addresses, port: int) -> None:
    """Be a gateway that encodes each event for each client."""
    sockets: set[WebSocket] = set()

    async def pump() -> None:
        context = new_context()
        subscriber = Subscriber(context, addresses.events_out, ["md."])
        while True:
            for topic, envelope, _ in subscriber.drain(256):
                event = wire.event(envelope)
                data = {name: getattr(event, name) for name in event.__struct_fields__}
                for socket in tuple(sockets):
                    text = json.dumps(
                        {
                            "topic": topic,
                            "ts_pub_ns": envelope.ts_pub_ns,
                            "type": event.__struct_config__.tag,
                            "data": data,
                        },
                        separators=(",", ":"),
                    )
                    with contextlib.suppress(RuntimeError, OSError):
                        await socket.send_text(text)
            await asyncio.sleep(0.001)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        task = asyncio.ensure_future(pump())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/ws")
    async def join(socket: WebSocket) -> None:
        await socket.accept()
        sockets.add(socket)
        with contextlib.suppress(Exception):
            while True:
                await socket.receive_text()
        sockets.discard(socket)

    uvicorn.run(
        app, host="127.0.0.1", port=port, log_config=None, ws="websockets-sansio",
        ws_per_message_deflate=False,
    )  # fmt: skip


def main() -> None:
    """Be what the first argument says."""
    match sys.argv[1:]:
        case ["clients", url, n, seconds]:
            asyncio.run(clients(url, int(n), float(seconds)))
        case ["plain", addresses, port]:
            plain(msgspec.json.decode(addresses, type=Addresses), int(port))
        case words:
            raise SystemExit(f"clients or plain expected, found {words}")


if __name__ == "__main__":
    main()
