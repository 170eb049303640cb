"""A TCP relay between a client and an end of the bus: the network, as bad as one likes.

What passes can be slowed, held up, thinned or cut. It knows bytes and connections, and nothing of
what they mean. All of it runs on one asyncio loop.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable
from typing import Final

_CHUNK: Final = 1 << 16
_HELD: Final = 256  # chunks on their way in one direction; then the sender has to wait
_CONNECT_S: Final = 2.0


class Relay:
    """Listens on a free port of this machine, and hands each connection on to `target`.

    Args:
        target: `tcp://HOST:PORT` or `ipc://PATH`.
        host: to listen on.
        port: to listen on; 0 for a free one.

    Attributes:
        delay_s: how long each byte is under way.
        bytes_per_s: that a connection lets through in a direction; 0 for all.
        carried: bytes so far.
        broken: connections that were cut.
    """

    def __init__(self, target: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self.carried = 0
        self.broken = 0
        self._target = target
        self._place = (host, port)
        self._flows = asyncio.Event()
        self._flows.set()
        self._swallows = False
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}  # client -> target
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Begin to listen; return the address."""
        self._server = await asyncio.start_server(self._serve, *self._place)
        host, port, *_ = self._server.sockets[0].getsockname()
        return f"tcp://{host}:{port}"

    async def close(self) -> None:
        """Cut everything, and end."""
        if self._server is not None:
            self._server.close()
        self.heal()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stall(self) -> None:
        """Let nothing through, and keep all connections."""
        self._flows.clear()

    def swallow(self) -> None:
        """Be half open: hang up on the target, and take what clients send to nowhere."""
        self._swallows = True
        for target in self._open.values():
            _abort(target)

    def cut(self) -> None:
        """Reset all connections."""
        for client, target in list(self._open.items()):
            self.broken += 1
            _abort(client)
            _abort(target)

    def heal(self) -> None:
        """Be a good link again."""
        self.delay_s = self.bytes_per_s = 0.0
        self._flows.set()
        if self._swallows:
            self._swallows = False
            self.cut()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect(reader, client)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # the other end is down, or all is over: the client is hung up on
        finally:
            self._open.pop(client, None)
            _abort(client)
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        back, target = await asyncio.wait_for(_dial(self._target), _CONNECT_S)
        self._open[client] = target
        pumps = [
            asyncio.ensure_future(self._pump(reader, target)),
            asyncio.ensure_future(self._pump(back, client)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            _abort(target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_HELD)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(reader, held))
            group.create_task(self._give(held, writer))

    async def _take(
        self, reader: asyncio.StreamReader, held: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        while data := await reader.read(_CHUNK):
            if not self._swallows:
                await held.put((time.monotonic() + self.delay_s, data))
        if not self._swallows:  # else nobody is told
            await held.put((time.monotonic() + self.delay_s, b""))

    async def _give(
        self, held: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due_s, data = await held.get()
            if (wait_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            await self._flows.wait()
            if not data:
                writer.close()
                return
            if self.bytes_per_s:
                await asyncio.sleep(len(data) / self.bytes_per_s)
            writer.write(data)
            await writer.drain()
            self.carried += len(data)


def _dial(target: str) -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    kind, _, place = target.partition("://")
    if kind == "ipc":
        return asyncio.open_unix_connection(place)
    host, _, port = place.rpartition(":")
    return asyncio.open_connection(host, int(port))


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side is reset, and not told politely."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
