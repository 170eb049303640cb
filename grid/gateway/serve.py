"""The gateway's process: one thread listens to the bus, the main thread serves."""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import uvicorn

from grid.bus import new_context
from grid.errors import BusError, ConfigError
from grid.gateway.app import build
from grid.gateway.asking import Asking
from grid.gateway.config import GatewayConfig
from grid.gateway.desk import Desk
from grid.gateway.disk import Models
from grid.gateway.door import Door
from grid.gateway.keys import ApiKeys
from grid.gateway.listener import Listener
from grid.gateway.shelf import Shelf
from grid.gateway.stream import Streams
from grid.gateway.training import Training
from grid.home import Home
from grid.process import Lifeline
from grid.topology import GridConfig

log = logging.getLogger(__name__)

_STUCK_S: Final = 5.0
_END_S: Final = 3


class _Server(uvicorn.Server):
    """Leaves the signals to the process, whose lifeline they end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Watch:
    """Whether the serving loop turns, as the listening thread sees it."""

    def __init__(self) -> None:
        self.streams: Streams | None = None
        self._turns = -1
        self._at_s = time.monotonic()

    def alive(self) -> bool:
        turns, now_s = self.streams.turns if self.streams else 0, time.monotonic()
        if turns != self._turns:
            self._turns, self._at_s = turns, now_s
        return now_s - self._at_s < _STUCK_S

    def counters(self) -> dict[str, float]:
        return self.streams.counters() if self.streams else {}


def run(
    config: GridConfig,
    home: Home,
    life: Lifeline,
    models: Models,
    training: Training,
    *,
    epoch: int,
    name: str,
) -> None:
    """Be the gateway of a grid until `life.stopping`.

    Args:
        config: of the grid.
        home: the folder of sessions, runs and keys.
        life: of this process.
        models: lists the registry.
        training: tells of training grids; closed at the end.
        epoch: of this process.
        name: of this process.

    Raises:
        BusError: the address is taken, or the listener failed.
        ConfigError: others could reach it, and there is no key; or the certificate is no good.
    """
    own = config.gateway or GatewayConfig()
    door = Door(own, ApiKeys(home.keys), "live" if config.node.is_live else "paper")
    watch = _Watch()
    listener = Listener(config.bus, name, epoch, watch.counters, watch.alive, life.beat)
    context = new_context()
    asking = Asking(context, config.bus.requests)
    shelf = Shelf(home.sessions)
    desk = Desk(config, own, home, listener, asking, door, models, training, shelf, _version())
    app = build(desk)
    watch.streams = app.state.streams
    server = _Server(_settings(own, app))
    listener.start()
    try:
        asyncio.run(_serve(server, own, life, listener))
    finally:
        listener.stop()
        asking.close()
        training.close()
        shelf.close()
        context.destroy(linger=0)
    if listener.error is not None:
        raise BusError(f"the gateway's listener failed: {listener.error}") from listener.error


async def _serve(
    server: uvicorn.Server, own: GatewayConfig, life: Lifeline, listener: Listener
) -> None:
    def end() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    loop.add_reader(life.wake_fd, end)
    try:
        sockets = [server.config.bind_socket()]
    except SystemExit:
        raise BusError(f"{own.host}:{own.port}: cannot be bound: is it taken?") from None
    # an answer goes out in two parts, and the second would wait for the first to be confirmed
    sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    host, port = sockets[0].getsockname()[:2]
    serving = asyncio.ensure_future(server.serve(sockets))
    try:
        while not serving.done() and listener.error is None:
            if server.started and not life.stopping:
                scheme = "https" if own.cert else "http"
                log.info("ready: %s://%s:%d", scheme, host, port)
                life.ready()
                break
            await asyncio.sleep(0.01)
        while not serving.done():
            if listener.error is not None:
                server.should_exit = True
            await asyncio.wait({serving}, timeout=0.5)
        await serving
    finally:
        loop.remove_reader(life.wake_fd)
        for each in sockets:
            each.close()


def _settings(own: GatewayConfig, app: object) -> uvicorn.Config:
    for file in filter(None, (own.cert, own.cert_key)):
        if not Path(file).is_file():
            raise ConfigError(f"gateway: certificate or key {file}: expected a file")
    try:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            host=own.host,
            port=own.port,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_max_size=16 << 10,
            ws_ping_interval=20.0,
            log_config=None,
            log_level="warning",  # its lines of INFO have tickets in them
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_END_S,
            limit_concurrency=1_000,
            ssl_certfile=own.cert or None,
            ssl_keyfile=own.cert_key or None,
        )
        config.load()
    except (OSError, ssl.SSLError) as e:
        raise ConfigError(f"gateway: certificate {own.cert}: {e}") from e
    return config


def _version() -> str:
    try:
        return version("argonaut-nt")
    except PackageNotFoundError:
        return "0"
