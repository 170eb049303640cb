"""HTTP and gRPC before a model server: one thread with an event loop, an asker like any other."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import uvicorn
import uvloop

from agents.serving import rest
from agents.serving.oracle import Oracle
from grid.errors import ArgonautError, BusError
from grid.process import Lifeline
from grid.serving.config import HttpConfig, ServingConfig
from grid.serving.ends import AsyncAsker

log = logging.getLogger(__name__)

_UNDER_WAY: Final = 4_096  # requests of all clients together
_READY_S: Final = 30.0
_END_S: Final = 3


class _Server(uvicorn.Server):
    """Leaves the signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Front:
    """What clients of HTTP and gRPC see; ends the process when it fails.

    Args:
        config: of the server.
        context: its ZeroMQ context.
        address: of the server, within this process.
        life: of this process.
    """

    def __init__(
        self,
        config: ServingConfig,
        context: Any,
        address: str,
        life: Lifeline,
    ) -> None:
        self.error: BaseException | None = None
        self._config = config
        self._context = context
        self._address = address
        self._life = life
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="front", daemon=True)

    def start(self) -> None:
        """Return once clients are served.

        Raises:
            BusError: an address is taken, or nothing happens.
        """
        self._thread.start()
        if not self._up.wait(_READY_S):
            raise BusError(f"HTTP and gRPC: expected to be ready in {_READY_S:g} s")
        self.check()

    def check(self) -> None:
        """Raise what ended it, if something has."""
        if self.error is not None:
            if isinstance(self.error, ArgonautError):
                raise self.error
            raise BusError(f"HTTP and gRPC failed: {self.error}") from self.error

    def has_ended(self) -> bool:
        """Begin to end; say whether everything that was under way is answered."""
        self._begin_end()
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Finish what is under way, and end."""
        self._begin_end()
        if self._thread.ident is not None:
            self._thread.join(2 * _END_S + 2.0)

    def _begin_end(self) -> None:
        if self._loop is not None and self._end is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._end.set)

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as e:
            self.error = e
        finally:
            self._up.set()
            self._life.end()  # the server does not go on without it

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        asker = AsyncAsker(self._context, self._address, _UNDER_WAY)
        oracle = Oracle(asker)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(asker.close)
            ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._end.wait())]
            if self._config.http is not None:
                ends.append(await _http(stack, oracle, self._config.http))
            if self._config.grpc is not None:
                from agents.serving import rpc

                server, port = rpc.serve(oracle, self._config.grpc, program())
                await server.start()
                stack.push_async_callback(server.stop, _END_S)
                log.info("gRPC: %s:%d", self._config.grpc.host, port)
            self._up.set()
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
            ends[0].cancel()


async def _http(
    stack: contextlib.AsyncExitStack, oracle: Oracle, config: HttpConfig
) -> asyncio.Future[Any]:
    server = _Server(
        uvicorn.Config(
            rest.build(oracle, config, program()),
            host=config.host,
            port=config.port,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_END_S,
            limit_concurrency=_UNDER_WAY,
        )
    )
    server.config.load()
    try:
        socket = server.config.bind_socket()
    except SystemExit:
        raise BusError(f"{config.host}:{config.port}: cannot be bound: is it taken?") from None
    stack.callback(socket.close)
    serving = asyncio.ensure_future(server.serve([socket]))

    async def end() -> None:
        server.should_exit = True
        await asyncio.wait([serving], timeout=_END_S + 2.0)

    stack.push_async_callback(end)
    while not (server.started or serving.done()):
        await asyncio.sleep(0.01)
    log.info("HTTP: http://%s:%d", *socket.getsockname()[:2])
    return serving


def program() -> str:
    """Return the version of this program."""
    try:
        return version("argonaut-nt")
    except PackageNotFoundError:
        return "0"
