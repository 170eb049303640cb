"""A process's ZeroMQ context: it knows who the process is, and secures every socket alike.

Sockets connect and bind through here. Without an identity that is all; with one, each connection
is encrypted, each endpoint has a door, and `refresh` keeps up with keys that change.
"""

import contextlib
import logging
import resource
import threading
import time
from functools import cache
from itertools import count
from typing import Any, Final

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from grid.access import ANYONE, NOBODY, Holder
from grid.door import Door
from grid.errors import BusError
from grid.identity import OWN, Identity, is_local
from grid.murmur import Murmur
from grid.peers import Peers, cut

log = logging.getLogger(__name__)

type Socket = zmq.Socket[bytes]

MAX_PEERS: Final = 4_096  # connections to an endpoint; fewer where there are few descriptors
REBIND_S: Final = 2.0  # an endpoint with another key is open again within this time
_ZERO_COPY_RECV: Final = 10  # not named by pyzmq
_AGAIN_S: Final = 1.0  # whoever was denied tries again after this time
_FILES: Final = 65_536  # descriptors that are asked for
_SPARE: Final = 256  # of them for what is no connection
_ENDS: Final = 4  # endpoints of a process, at most
_DENIED: Final = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_numbers: Final = count()
_BINDERS: Final = {"feed": "feed", "venue": "venue"} | dict.fromkeys(
    ("events_in", "events_out", "requests", "strategies"), "broker"
)


class _End(msgspec.Struct):
    """A socket that is secured, at its one address."""

    socket: Any
    address: str
    endpoint: str  # empty for one that connects
    generation: int = 0  # of the identity that it shows
    monitor: Any = None
    denied_s: float = 0.0


class Context(zmq.Context[zmq.Socket[bytes]]):
    """A context whose sockets have the identity of their process.

    Attributes:
        identity: None where nothing is encrypted.
        door: before the sockets that are bound; None without an identity, or before there are any.
        peers: endpoint -> those connected to it; for the thread that has bound it.
        crowded: connections that were closed since there were too many.
    """

    identity: Identity | None = None
    door: Door | None = None
    peers: dict[str, Peers]
    crowded = 0
    _binder = 0  # the thread that binds
    _murmur = Murmur(log)
    _ends: dict[int, list[_End]]  # by thread: nobody touches those of another

    def refresh(self) -> None:
        """Show a key that has changed, try again where it was denied, close what is too much.

        For the sockets of the calling thread; call it each second or so.

        Raises:
            BusError: an endpoint could not be opened again, or nobody stands at the door any more.
        """
        if threading.get_ident() == self._binder:
            self._count_peers()
        if self.identity is None:
            return
        if self.door is not None:
            self.door.check()
        self.identity.refresh()
        now_s, ends = time.monotonic(), self._own_ends()
        ends[:] = [end for end in ends if not _left(end)]
        for end in ends:
            if end.endpoint:
                if end.generation != self.identity.generation:
                    self._rebind(end, self.identity)
            elif self._is_denied(end, now_s) or end.generation != self.identity.generation:
                with contextlib.suppress(zmq.ZMQError):  # ZeroMQ has dropped it where it was denied
                    end.socket.disconnect(end.address)
                self._connect(end, self.identity)

    def hand_over(self, socket: Socket) -> None:
        """Give a socket that is bound to the calling thread; the other one has let it go."""
        for ends in list(self._ends.values()):
            for end in [e for e in ends if e.socket is socket]:
                ends.remove(end)
                self._own_ends().append(end)

    def connect(self, socket: Socket, address: str) -> None:
        """Connect, encrypted if this process has an identity."""
        if self.identity is None:
            socket.connect(address)
            return
        end = _End(socket, address, "", monitor=self._monitor(socket))
        ends = self._own_ends()
        ends[:] = [*(e for e in ends if not _left(e)), end]
        self._connect(end, self.identity)

    def bind(self, socket: Socket, address: str, endpoint: str) -> None:
        """Bind, behind the door.

        Raises:
            AccessError: this process's key may let nobody in.
            BusError: the address is taken, or could be reached without a key by mistake.
        """
        if self.identity is not None:
            self.identity.as_server(socket, endpoint)
        elif not (is_local(address) or OWN.is_open):
            raise BusError(f'{address}: expected a key, or security.mode = "off" in the config')
        if self.door is None and self.identity is not None:
            assert self.identity.watch is not None  # else it serves nobody
            self.door = Door(self, self.identity.watch)
        self._binder = threading.get_ident()
        self.peers[endpoint] = Peers(socket)
        try:
            socket.bind(address)
        except zmq.ZMQError as e:
            raise BusError(
                f"{address}: cannot be bound: {e.strerror}; is a {_BINDERS[endpoint]} there?"
            ) from e
        if self.identity is not None:
            end = _End(socket, address, endpoint, self.identity.generation)
            self._own_ends().append(end)

    def counters(self) -> dict[str, float]:
        """Return what a heartbeat tells of those who connect."""
        door = self.door.counters() if self.door else {}
        return {"peers_crowded": float(self.crowded), **door}

    def receive(self, socket: Socket) -> tuple[list[bytes], Holder]:
        """Return the next message of a socket that is bound, and who sent it, without waiting."""
        if self.identity is None:
            return socket.recv_multipart(zmq.NOBLOCK), ANYONE
        frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
        sender = self.door.sender(frames[0]) if self.door else NOBODY
        return [frame.bytes for frame in frames], sender

    def destroy(self, linger: int | None = None) -> None:
        """Close the door, then all sockets."""
        if self.door is not None:
            self.door.close()
            self.door = None
        for peers in self.peers.values():
            peers.close()
        self.peers.clear()
        super().destroy(linger)

    # -- parts --------------------------------------------------------------------------------

    def _own_ends(self) -> list[_End]:
        return self._ends.setdefault(threading.get_ident(), [])

    def _connect(self, end: _End, identity: Identity) -> None:
        identity.as_client(end.socket)
        end.generation = identity.generation
        end.denied_s = 0.0
        end.socket.connect(end.address)

    def _monitor(self, socket: Socket) -> Socket:
        address = f"inproc://end-{next(_numbers)}"
        socket.monitor(address, int(_DENIED))
        monitor = self.socket(zmq.PAIR)
        monitor.set(zmq.LINGER, 0)
        monitor.set(zmq.RCVHWM, 0)  # a full queue would stop the thread of all connections
        monitor.connect(address)
        return monitor

    def _is_denied(self, end: _End, now_s: float) -> bool:
        """Say whether ZeroMQ has given up on a connection, and it is time to try again."""
        while end.monitor.poll(0):
            recv_monitor_message(end.monitor)
            end.denied_s = now_s
        if end.denied_s == now_s and self.identity is not None:
            text = "%s does not let in key %s"
            self._murmur.say(end.address, text, end.address, self.identity.key.name)
        return 0.0 < end.denied_s <= now_s - _AGAIN_S

    def _count_peers(self) -> None:
        for endpoint, peers in self.peers.items():
            there = peers.present
            for peer in there[_most_peers() :]:
                self.crowded += cut(peer)
                self._murmur.say(
                    endpoint, "%s has %d connections: closed some", endpoint, len(there)
                )

    def _rebind(self, end: _End, identity: Identity) -> None:
        end.socket.unbind(end.address)
        identity.as_server(end.socket, end.endpoint)
        deadline_s = time.monotonic() + REBIND_S
        while True:
            try:
                end.socket.bind(end.address)
            except zmq.ZMQError as e:
                if time.monotonic() > deadline_s:
                    raise BusError(f"{end.address}: cannot be bound again: {e.strerror}") from e
                time.sleep(0.01)
            else:
                end.generation = identity.generation
                return


def new_context(identity: Identity | None = None) -> Context:
    """Return a ZeroMQ context; one a process.

    Args:
        identity: who its sockets are; by default who this process is.
    """
    context = Context()
    context.identity = identity or OWN.identity
    context._ends = {}
    context.peers = {}
    # else every small message that waits in a queue pins its whole 8 KiB receive buffer
    context.set(_ZERO_COPY_RECV, 0)
    return context


def connect(socket: Socket, address: str) -> None:
    """Connect as the socket's context does."""
    context = socket.context
    if isinstance(context, Context):
        context.connect(socket, address)
    else:
        socket.connect(address)


def receive(socket: Socket) -> tuple[list[bytes], Holder]:
    """Return the next message of a socket that is bound, and who sent it, without waiting."""
    context = socket.context
    if isinstance(context, Context):
        return context.receive(socket)
    return socket.recv_multipart(zmq.NOBLOCK), ANYONE


def refresh(context: zmq.Context[Any]) -> None:
    """Keep up with keys that change; does nothing for a context that is not ours."""
    if isinstance(context, Context):
        context.refresh()


@cache
def _most_peers() -> int:
    """Return how many an endpoint may have; the system is asked for more descriptors first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(16, min(MAX_PEERS, (soft - _SPARE) // _ENDS))


def _left(end: _End) -> bool:
    if end.socket.closed and end.monitor is not None:
        end.monitor.close()
    return bool(end.socket.closed)
