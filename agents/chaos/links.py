"""The relays of a grid on a thread of their own, to be handled from any other."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from agents.chaos.relay import Relay

_CALL_S = 10.0


class Links:
    """One relay for each of some ends.

    Args:
        targets: name -> the end behind the relay.

    Attributes:
        addresses: name -> where its relay listens.
    """

    def __init__(self, targets: dict[str, str]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._thread.start()
        self._relays = {name: self._made(target) for name, target in targets.items()}
        self.addresses = {n: self._run(relay.start()) for n, relay in self._relays.items()}

    @property
    def names(self) -> list[str]:
        """The ends that have a relay."""
        return list(self._relays)

    def do(self, name: str, act: Callable[[Relay], None]) -> None:
        """Do something to a relay, on its loop."""
        relay = self._relays[name]

        async def done() -> None:
            act(relay)

        self._run(done())

    def heal(self) -> None:
        """Make all links good again."""
        for name in self._relays:
            self.do(name, Relay.heal)

    def close(self) -> None:
        """End all relays and the thread."""
        for relay in self._relays.values():
            self._run(relay.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        self._loop.close()

    def _made(self, target: str) -> Relay:
        async def made() -> Relay:
            return Relay(target)

        return self._run(made())

    def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)
