"""Requests to the strategy, each on a socket of its own: a slow one keeps no other waiting."""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal

import zmq

from grid import wire
from grid.bus import Requester
from grid.errors import BusError

type Verb = Literal["halt", "resume", "flatten"]

_ASK_S: Final = 2.0
_RETRIES: Final = 1
_AT_ONCE: Final = 8
_WAITING: Final = 64
_CONTROLS: Final[dict[str, type[wire.Control]]] = {
    "halt": wire.Halt, "resume": wire.Resume, "flatten": wire.Flatten,
}  # fmt: skip


class Unsent(BusError):
    """Nothing was done: too much is under way, or the strategy is not there."""


class Asking:
    """Asks strategies on behalf of clients.

    Args:
        context: of `grid.bus.new_context`; closed by its owner, after this.
        address: the broker's `requests`.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self._context = context
        self._address = address
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ask")
        self._under_way = 0

    async def ask(self, request: wire.Request) -> wire.Reply:
        """Return the reply.

        Raises:
            BusError: none came; whether it was done is not known, and asking again is safe.
            Unsent: nothing was done.
        """
        if self._under_way >= _WAITING:
            raise Unsent(f"{_WAITING} requests are under way: try again")
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            reply = await loop.run_in_executor(self._pool, self._ask, request)
        finally:
            self._under_way -= 1
        if isinstance(reply, wire.Refused):
            raise Unsent(reply.reason)
        return reply

    async def control(self, verb: Verb, strategy_id: str, by: str, reason: str) -> wire.Reply:
        """Halt, resume or flatten."""
        return await self.ask(_CONTROLS[verb](strategy_id, uuid.uuid4().hex, by, reason))

    def _ask(self, request: wire.Request) -> wire.Reply:
        requester = Requester(self._context, self._address)
        try:
            return requester.ask(request, _ASK_S, _RETRIES)
        finally:
            requester.close()

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)
