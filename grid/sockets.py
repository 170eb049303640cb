"""The sockets below the bus: where they meet, their options, how to wait for them.

Sockets belong to the thread that made them.
"""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Protocol, Self

import msgspec
import zmq

from grid import wire
from grid.errors import ConfigError

EVENTS_HWM: Final = 100_000  # about 20 MB of small events; 10 s at 10,000 events/s
_POLLIN: Final = int(zmq.POLLIN)
_MORE: Final = zmq.NOBLOCK | zmq.SNDMORE
_MAX_IPC_PATH_BYTES: Final = 100  # sun_path has 108

Endpoint = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(tcp://[^\s]+:\d+|ipc://[^\s]+)$", description="tcp://HOST:PORT or ipc://PATH"
    ),
]


class Addresses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a grid meets: ZeroMQ endpoints, `tcp://host:port` or `ipc://path`.

    Attributes:
        events_in: publishers connect here.
        events_out: subscribers connect here.
        requests: agents connect here.
        strategies: nodes connect here.
        feed: the feed binds here, the node connects.
        venue: the paper venue binds here, the node connects.
    """

    events_in: Endpoint = "tcp://127.0.0.1:5570"
    events_out: Endpoint = "tcp://127.0.0.1:5571"
    requests: Endpoint = "tcp://127.0.0.1:5572"
    strategies: Endpoint = "tcp://127.0.0.1:5573"
    feed: Endpoint = "tcp://127.0.0.1:5574"
    venue: Endpoint = "tcp://127.0.0.1:5575"

    def __post_init__(self) -> None:
        ends = [getattr(self, f) for f in self.__struct_fields__]
        twice = sorted({e for e in ends if ends.count(e) > 1})
        if twice:
            raise ValueError(f"expected six different endpoints, found {twice[0]} twice")
        for end in ends:
            if end.startswith("tcp://") and not 0 < int(end.rpartition(":")[2]) < 1 << 16:
                raise ValueError(f"expected a port from 1 to 65535, found {end}")
            if len(os.fsencode(end.removeprefix("ipc://"))) > _MAX_IPC_PATH_BYTES:
                raise ValueError(
                    f"expected paths of up to {_MAX_IPC_PATH_BYTES} bytes, found {end}"
                )

    @classmethod
    def ipc(cls, folder: Path) -> Self:
        """Return addresses that are sockets in `folder`, which is made, for its owner alone.

        Raises:
            ConfigError: the path is longer than a Unix socket's may be.
        """
        ends = {f: folder.absolute() / f for f in cls.__struct_fields__}
        longest = max(len(os.fsencode(e)) for e in ends.values())
        if longest > _MAX_IPC_PATH_BYTES:
            raise ConfigError(
                f"{folder}: expected socket paths of at most {_MAX_IPC_PATH_BYTES} bytes,"
                f" found {longest}; choose a shorter folder"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(**{f: f"ipc://{end}" for f, end in ends.items()})


def new_socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    """Return a socket with the grid's options: bounded frames, quick reconnects, no lingering."""
    socket = context.socket(kind)
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.MAXMSGSIZE, wire.MAX_FRAME_BYTES)
    socket.set(zmq.CONNECT_TIMEOUT, 800)
    socket.set(zmq.RECONNECT_IVL, 100)
    socket.set(zmq.RECONNECT_IVL_MAX, 1_000)
    socket.set(zmq.HANDSHAKE_IVL, 2_000)
    socket.set(zmq.HEARTBEAT_IVL, 1_000)
    socket.set(zmq.HEARTBEAT_TIMEOUT, 3_000)
    socket.set(zmq.HEARTBEAT_TTL, 6_000)
    socket.set(zmq.TCP_KEEPALIVE, 1)
    return socket


def readable(socket: zmq.Socket[bytes]) -> bool:
    """Say whether a message is here; five times cheaper than to try and catch `Again`."""
    return bool(int(socket.get(zmq.EVENTS)) & _POLLIN)


def send_frames(socket: zmq.Socket[bytes], *frames: bytes) -> None:
    """Send one message of several frames without waiting, or raise `zmq.ZMQError`."""
    for frame in frames[:-1]:
        socket.send(frame, _MORE)
    socket.send(frames[-1], zmq.NOBLOCK)


def to_ms(seconds: float) -> int:
    """Return whole milliseconds, rounded up, at least 0."""
    return max(0, math.ceil(seconds * 1e3))


class Waitable(Protocol):
    """What `wait` can wait for."""

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket that becomes readable."""


class Waiter:
    """Waits for any of `ends` (ends of the bus, or file descriptors), again and again.

    Making one costs more than waiting once, so loops keep theirs.
    """

    def __init__(self, ends: Iterable[Waitable | int]) -> None:
        self._poller = zmq.Poller()
        self._ends: dict[zmq.Socket[bytes] | int, Waitable | int] = {}
        for end in ends:
            handle = end if isinstance(end, int) else end.socket
            self._ends[handle] = end
            self._poller.register(handle, zmq.POLLIN)

    def wait(self, timeout_s: float) -> list[Waitable | int]:
        """Wait until any is readable, at most `timeout_s`; return those that are."""
        return [self._ends[h] for h, _ in self._poller.poll(to_ms(timeout_s))]


def wait(ends: Iterable[Waitable | int], timeout_s: float) -> list[Waitable | int]:
    """Wait once, as with a `Waiter`."""
    return Waiter(ends).wait(timeout_s)
