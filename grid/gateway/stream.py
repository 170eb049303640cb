"""The WebSocket: events as they come, in frames that all clients of one wish share."""

import asyncio
import contextlib
import logging
from collections import deque
from typing import Any, Final

import msgspec
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from grid.gateway.desk import Desk
from grid.gateway.hub import CHANNELS, RATE_HZ, Frame, Wish, encode
from grid.gateway.problem import Refusal

log = logging.getLogger(__name__)

router: Final = APIRouter()

QUEUE: Final = 64  # frames that may wait for a client
SLOW: Final = 8  # frames; who has more waiting gets conflated ones
SEND_S: Final = 10.0  # a client that takes no frame for so long is cut off
_MESSAGE_BYTES: Final = 16 << 10
_REFUSED: Final = 4_401
_BUSY: Final = 1_013


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a client was.

    Attributes:
        feed: of a gateway's life.
        after: the last number that it has of that.
        streams: in their place, source, epoch and topic -> the last sequence that it has; they mean
            the same in every life of the gateway.
    """

    feed: str = ""
    after: int = 0
    streams: dict[str, int] = {}


class Subscribe(
    msgspec.Struct, frozen=True, tag_field="op", tag="subscribe", forbid_unknown_fields=True
):
    """What a client wants from now on."""

    channels: list[str]
    instruments: list[str] = []
    conflate: bool = False
    resume: Resume | None = None


class Ping(msgspec.Struct, frozen=True, tag_field="op", tag="ping"):
    """Asks for a pong."""


_said: Final = msgspec.json.Decoder(Subscribe | Ping)


class Client:
    """One WebSocket and what waits for it; the oldest go when there is no room.

    Attributes:
        wish: what it wants; None before it has said so.
        dropped: events that it was not sent.
    """

    def __init__(self) -> None:
        self.wish: Wish | None = None
        self.dropped = 0
        self._told = 0  # of those dropped
        self._from = 0  # events up to here are no business of it
        self._waiting: deque[bytes | Frame] = deque()
        self._some = asyncio.Event()

    @property
    def wished(self) -> Wish | None:
        """What it is to get now: conflated while it is slow."""
        if self.wish is None or len(self._waiting) <= SLOW:
            return self.wish
        return msgspec.structs.replace(self.wish, conflate=True)

    def begin(self, wish: Wish, after: int) -> None:
        """Give it what comes after a number, of another wish than before."""
        self.wish, self._from = wish, after

    def offer(self, frames: list[Frame]) -> None:
        """Queue frames, and let the oldest go if there is no room."""
        for frame in frames:
            if frame.last > self._from:
                self._put(frame)

    def say(self, message: dict[str, Any]) -> None:
        """Queue a message that is no frame."""
        self._put(encode(message))

    def _put(self, item: bytes | Frame) -> None:
        while len(self._waiting) >= QUEUE:
            gone = self._waiting.popleft()
            self.dropped += gone.events if isinstance(gone, Frame) else 0
        self._waiting.append(item)
        self._some.set()

    async def take(self) -> bytes:
        """Return the next thing to send."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        if self.dropped > self._told:
            lost, self._told = self.dropped - self._told, self.dropped
            return encode({"op": "dropped", "events": lost, "total": self.dropped})
        item = self._waiting.popleft()
        return item.text if isinstance(item, Frame) else item


class Streams:
    """All WebSockets of the gateway, and the pulse that feeds them.

    Attributes:
        clients: those connected.
        turns: of the pulse; it stands still when the loop does.
        dropped: events that clients who have left were not sent.
        sent: frames.
    """

    def __init__(self, desk: Desk) -> None:
        self.clients: set[Client] = set()
        self.turns = 0
        self.dropped = 0
        self.sent = 0
        self._desk = desk

    def counters(self) -> dict[str, float]:
        """Return the counters of the heartbeat."""
        dropped = self.dropped + sum(client.dropped for client in tuple(self.clients))
        return {
            "clients": float(len(self.clients)),
            "ws_dropped": float(dropped),
            "ws_frames": float(self.sent),
        }

    async def pulse(self) -> None:
        """Cut frames and hand them out, `RATE_HZ` times a second, for ever."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s = max(due_s + 1 / RATE_HZ, loop.time())
            await asyncio.sleep(due_s - loop.time())
            self.turns += 1
            wishes = {c: w for c in self.clients if (w := c.wished) is not None}
            listener = self._desk.listener
            with listener.lock:
                cut = listener.hub.cut(wishes.values())
            for client, wish in wishes.items():
                if wish in cut:
                    client.offer(cut[wish])

    async def serve(self, socket: WebSocket) -> None:
        """Talk to one client until it leaves."""
        client = Client()
        hub = self._desk.listener.hub
        client.say({"op": "hello", "feed": hub.feed, "n": hub.cut_n})
        self.clients.add(client)
        sending = asyncio.ensure_future(self._send(socket, client))
        hearing = asyncio.ensure_future(self._hear(socket, client))
        try:
            await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.clients.discard(client)
            self.dropped += client.dropped
            for task in (sending, hearing):
                task.cancel()
            await asyncio.gather(sending, hearing, return_exceptions=True)
            with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
                await socket.close()

    async def _send(self, socket: WebSocket, client: Client) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
            while True:
                text = (await client.take()).decode()
                await asyncio.wait_for(socket.send_text(text), SEND_S)
                self.sent += 1

    async def _hear(self, socket: WebSocket, client: Client) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                text = message.get("text") or message.get("bytes") or b""
                try:
                    said = _said.decode(text)
                except (msgspec.MsgspecError, UnicodeDecodeError) as e:
                    client.say({"op": "error", "detail": str(e)})
                    continue
                if isinstance(said, Ping):
                    client.say({"op": "pong"})
                else:
                    self._subscribe(client, said)

    def _subscribe(self, client: Client, said: Subscribe) -> None:
        if unknown := sorted(set(said.channels) - set(CHANNELS)):
            known = ", ".join(CHANNELS)
            client.say({"op": "error", "detail": f"channels: expected {known}; found {unknown}"})
            return
        wish = Wish(frozenset(said.channels), frozenset(said.instruments), said.conflate)
        listener = self._desk.listener
        frames: list[Frame] | None = []
        with listener.lock:
            hub = listener.hub
            after = hub.cut_n
            if said.resume is not None and said.resume.streams:
                frames = hub.since_streams(said.resume.streams, wish)
            elif said.resume is not None:
                same = said.resume.feed == hub.feed
                frames = hub.since(said.resume.after, wish) if same else None
        if frames is None:
            client.say({"op": "reset", "feed": hub.feed, "n": after})
        client.say(
            {
                "op": "subscribed",
                "channels": sorted(wish.channels),
                "instruments": sorted(wish.instruments),
                "from": msgspec.json.decode(frames[0].text)["from"] if frames else after + 1,
            }
        )
        if said.resume is not None and frames:
            client.begin(wish, 0)
            client.offer(frames)
        client.begin(wish, after)


@router.websocket("/ws")
async def connect(socket: WebSocket, ticket: str = "") -> None:
    """Let a client in: by its key, or by a ticket."""
    desk: Desk = socket.app.state.desk
    streams: Streams = socket.app.state.streams
    peer = socket.client.host if socket.client else ""
    try:
        if ticket:
            desk.door.enter_with(ticket, socket.headers)
        else:
            desk.door.enter(socket.headers, peer, "read")
    except Refusal as e:
        await socket.close(_REFUSED, e.detail)
        return
    if len(streams.clients) >= desk.gateway.clients:
        await socket.close(_BUSY, "too many clients")
        return
    await socket.accept()
    await streams.serve(socket)
