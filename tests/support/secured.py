"""A broker behind keys, and the ends of others who come to it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import zmq

from grid import grants, registrar, wire
from grid.bus import (
    Addresses,
    Publisher,
    Requester,
    Responder,
    Subscriber,
    new_context,
    wait_until_flowing,
)
from grid.grants import Grant
from grid.identity import Identity
from grid.keys import GRID
from tests.support.procs import Proc, Procs, until

WAIT_S = 15.0


def tcp() -> Addresses:
    """Addresses of a grid of one's own that are ports of this machine."""
    names = Addresses.__struct_fields__
    with zmq.Context() as free, ExitStack() as stack:
        takers = [stack.enter_context(free.socket(zmq.PAIR)) for _ in names]
        ports = [taker.bind_to_random_port("tcp://127.0.0.1") for taker in takers]
    ends = {f: f"tcp://127.0.0.1:{p}" for f, p in zip(names, ports, strict=True)}
    return msgspec.convert(ends, Addresses)


class Someone:
    """A process of its own, as far as the bus can tell: a key, a context, ends."""

    def __init__(self, keys: Path, name: str, addresses: Addresses, stack: ExitStack) -> None:
        self.name = name
        self.addresses = addresses
        self.context = new_context(Identity(keys, name))
        self._stack = stack
        stack.callback(self.context.destroy, linger=0)

    def own[T: (Publisher, Subscriber, Requester, Responder)](self, end: T) -> T:
        self._stack.callback(end.close)
        return end

    def publisher(self, source: str = "", flowing: bool = True) -> Publisher:
        made = self.own(Publisher(self.context, self.addresses.events_in, source or self.name, 1))
        if flowing:
            wait_until_flowing(self.context, self.addresses, made, WAIT_S)
        return made

    def subscriber(self, *prefixes: str) -> Subscriber:
        return self.own(Subscriber(self.context, self.addresses.events_out, prefixes))

    def requester(self) -> Requester:
        return self.own(Requester(self.context, self.addresses.requests))

    def responder(self) -> Responder:
        return self.own(Responder(self.context, self.addresses.strategies))


class Secured:
    """A broker that runs, and its keys."""

    def __init__(self, procs: Procs, addresses: Addresses, folder: Path, stack: ExitStack) -> None:
        self.keys = folder / "keys"
        self.addresses = addresses
        self._stack = stack
        registrar.make_grid_key(self.keys)
        self.broker: Proc = procs.serve("broker", addresses, folder, "--keys", self.keys)

    def enroll(self, name: str, grant: Grant) -> None:
        registrar.enroll(self.keys, name, grant)

    def agent(self, name: str, *strategies: str) -> "Someone":
        """Someone with a new key of an agent's rights."""
        self.enroll(name, grants.of_role("agent", name, strategies or ("s1",)))
        return self.someone(name)

    def someone(self, name: str = GRID) -> Someone:
        return Someone(self.keys, name, self.addresses, self._stack)


class Beats:
    """The broker's counters, from its heartbeats."""

    def __init__(self, whose: Someone) -> None:
        self._subscriber = whose.subscriber("sys.broker\0")

    def until(self, **least: float) -> dict[str, float]:
        """Wait until counters are at least so high, and return all."""

        def there() -> dict[str, float] | None:
            event = self._subscriber.recv(1.0)
            if event is None:
                return None
            beat = wire.event(event[1])
            assert isinstance(beat, wire.Heartbeat)
            found = beat.counters
            return found if all(found.get(k, 0.0) >= v for k, v in least.items()) else None

        return until(there, f"the broker to count {least}", 10.0)


@contextmanager
def secured(procs: Procs, addresses: Addresses, folder: Path) -> Iterator[Secured]:
    """A broker behind keys, and whoever comes to it until the end."""
    with ExitStack() as stack:
        yield Secured(procs, addresses, folder, stack)
