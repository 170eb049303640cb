"""The middle of the bus: events through a proxy in C, requests through a loop in Python.

Events: a SUB -> PUB forwarder on a thread of its own, which never decodes and never blocks. It
drops what a slow subscriber cannot take, and the loop cuts off whoever is slow for long.
Requests: two ROUTERs; each request goes to the one strategy that it names, or is answered here.
"""

import fcntl
import logging
import os
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import zmq

from grid.access import Holder
from grid.audience import Audience
from grid.bus import (
    EVENTS_HWM,
    REQUESTS_HWM,
    Addresses,
    Publisher,
    Subscriber,
    new_context,
    new_socket,
    readable,
    send_frames,
    wait_until_flowing,
)
from grid.context import Context
from grid.errors import BusError
from grid.laggards import CUT_OFF_S
from grid.process import Lifeline
from grid.refusals import Refusals
from grid.relay import Relay
from grid.switch import SILENT_S, Sending, Side, Switch

log = logging.getLogger(__name__)

BEAT_S: Final = 1.0
START_TIMEOUT_S: Final = 10.0
BURST: Final = 100  # messages from one side before the other has its turn


class Proxy:
    """The forwarder of events: SUB, which subscribes to everything, to PUB, in a thread of C.

    Raises:
        BusError: an address is taken.
    """

    # of the four counters a side: frames and bytes received, frames and bytes sent
    COUNTERS: Final = {"events_in": 0, "bytes_in": 1, "events_out": 6, "bytes_out": 7}

    def __init__(
        self, context: Context, addresses: Addresses, cut_off_s: float = CUT_OFF_S
    ) -> None:
        self.counters: dict[str, float] = dict.fromkeys(self.COUNTERS, 0.0)
        inner = new_socket(context, zmq.SUB)
        inner.set(zmq.RCVHWM, EVENTS_HWM)
        inner.subscribe("")
        outer = new_socket(context, zmq.PUB)
        outer.set(zmq.SNDHWM, EVENTS_HWM)  # what one slow subscriber may keep waiting
        outer.set(zmq.RCVHWM, 0)  # else a subscriber's prefixes beyond the first 1,000 are lost
        control = new_socket(context, zmq.PAIR)
        control.bind("inproc://proxy")
        self._control = new_socket(context, zmq.PAIR)
        self._control.connect("inproc://proxy")
        self._sockets = [inner, outer, control]
        try:
            context.bind(inner, addresses.events_in, "events_in")
            context.bind(outer, addresses.events_out, "events_out")
            self._audience = Audience(context.peers["events_out"], cut_off_s)
        except BusError:
            self._close()
            raise
        self._thread = threading.Thread(target=self._forward, name="proxy", daemon=True)
        self._thread.start()

    def count(self) -> None:
        """Take in the counters asked for at the last call, and ask again; never waits."""
        while self._control.poll(0):
            frames = self._control.recv_multipart()
            if len(frames) == 8:
                values = [struct.unpack("=Q", f)[0] for f in frames]
                self.counters |= {name: float(values[i]) for name, i in self.COUNTERS.items()}
        self._control.send(b"STATISTICS", zmq.NOBLOCK)

    def look(self, now_s: float) -> None:
        """Count the subscribers, tell who is slow, cut off who is slow for long."""
        self.counters |= self._audience.look(now_s)

    def close(self) -> None:
        """Stop the thread and close the sockets."""
        self._control.send(b"TERMINATE", zmq.NOBLOCK)
        self._thread.join(timeout=5.0)
        self._close()

    def _forward(self) -> None:
        inner, outer, control = self._sockets
        try:
            zmq.proxy_steerable(inner, outer, None, control)
        except zmq.ZMQError:
            log.exception("the proxy of events failed")

    def _close(self) -> None:
        for socket in (*self._sockets, self._control):
            socket.close()


def lock(addresses: Addresses, stack: ExitStack) -> None:
    """Keep a second broker from these addresses: on ipc, binding twice succeeds.

    Raises:
        BusError: a broker is there already.
    """
    ends = (addresses.events_in, addresses.events_out, addresses.requests, addresses.strategies)
    for address in ends:
        if not address.startswith("ipc://"):
            continue
        file = address.removeprefix("ipc://") + ".lock"
        try:
            fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise BusError(f"{address}: cannot be bound: {e.strerror}") from e
        stack.callback(os.close, fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusError(f"{address}: another broker is running here") from None


def run(
    addresses: Addresses,
    life: Lifeline,
    *,
    epoch: int,
    name: str = "broker",
    cut_off_s: float = CUT_OFF_S,
    audit: Path | None = None,
) -> None:
    """Be the broker until `life.stopping`; ready when its own heartbeat has come back as an event.

    Args:
        addresses: to bind.
        life: of this process.
        epoch: of this process.
        name: source of its heartbeats.
        cut_off_s: a subscriber that is behind for so long is cut off.
        audit: file for what is refused to a key that has not the right to it: see `grid.audit`.

    Raises:
        BusError: another broker is running here, or an address is taken.
    """
    with ExitStack() as stack:
        lock(addresses, stack)
        context = new_context()
        stack.callback(context.destroy, linger=0)
        proxy = (Relay if context.identity else Proxy)(context, addresses, cut_off_s)
        stack.callback(proxy.close)
        sockets: dict[Side, zmq.Socket[bytes]] = {
            "agents": _router(context, addresses.requests, "requests", stack),
            "strategies": _router(context, addresses.strategies, "strategies", stack),
        }
        refusals = Refusals(audit)
        stack.callback(refusals.close)
        publisher = Publisher(context, addresses.events_in, name, epoch, role="broker")
        stack.callback(publisher.close)
        echo = Subscriber(context, addresses.events_out, [f"sys.{name}"])
        stack.callback(echo.close)
        wait_until_flowing(context, addresses, publisher, START_TIMEOUT_S)
        log.info("ready, epoch %d, at %s and %s", epoch, addresses.events_in, addresses.requests)
        life.ready()
        switch = Switch(refusals.take, context.door.misdeed if context.door else None)
        _loop(context, sockets, proxy, switch, publisher, echo, life)
        publisher.heartbeat("stopping")


def _router(context: Context, address: str, endpoint: str, stack: ExitStack) -> zmq.Socket[bytes]:
    socket = new_socket(context, zmq.ROUTER)
    stack.callback(socket.close)
    socket.set(zmq.SNDHWM, REQUESTS_HWM)
    socket.set(zmq.RCVHWM, REQUESTS_HWM)
    socket.set(zmq.ROUTER_MANDATORY, 1)  # else a message to one who has left is lost silently
    context.bind(socket, address, endpoint)
    return socket


def _loop(
    context: Context,
    sockets: dict[Side, zmq.Socket[bytes]],
    proxy: Proxy | Relay,
    switch: Switch,
    publisher: Publisher,
    echo: Subscriber,
    life: Lifeline,
) -> None:
    poller = zmq.Poller()
    for source in (*sockets.values(), echo.socket, life.wake_fd):
        poller.register(source, zmq.POLLIN)
    next_beat_s = time.monotonic()
    while not life.stopping:
        now_s = time.monotonic()
        if now_s >= next_beat_s:
            proxy.count()
            proxy.look(now_s)
            counters = {**_counters(switch, proxy, now_s), **context.counters()}
            publisher.heartbeat("running", counters)
            next_beat_s = now_s + BEAT_S
        ready = dict(poller.poll(max(1, round((next_beat_s - now_s) * 1e3))))
        now_s = time.monotonic()
        if sockets["agents"] in ready:
            for frames, who in _received(context, sockets["agents"]):
                _send(sockets, switch, switch.from_agent(frames, now_s, who))
        if sockets["strategies"] in ready:
            for frames, who in _received(context, sockets["strategies"]):
                if (sending := switch.from_strategy(frames, now_s, who)) is not None:
                    _send(sockets, switch, sending)
        if echo.socket in ready and echo.drain(BURST):
            life.beat()  # both halves work: this loop, and the proxy that sent its beat back


def _received(context: Context, socket: zmq.Socket[bytes]) -> Iterable[tuple[list[bytes], Holder]]:
    yield context.receive(socket)
    for _ in range(BURST):
        if not readable(socket):
            return
        yield context.receive(socket)


def _send(sockets: dict[Side, zmq.Socket[bytes]], switch: Switch, sending: Sending) -> None:
    side, frames = sending
    try:
        send_frames(sockets[side], *frames)
    except zmq.ZMQError as e:  # Again: its queue is full; EHOSTUNREACH: it has left
        if e.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
            raise
        if (instead := switch.undeliverable(sending)) is not None:
            _send(sockets, switch, instead)


def _counters(switch: Switch, proxy: Proxy | Relay, now_s: float) -> dict[str, float]:
    heard = sum(now_s - r.heard_s <= SILENT_S for r in switch.routes.values())
    return {
        **proxy.counters,
        "requests": float(switch.requests),
        "replies": float(switch.replies),
        "strategies": float(heard),
        "refused": float(switch.refused.total()),
        "registrations_ignored": float(switch.ignored),
        "bad": float(switch.bad),
        "lost": float(switch.lost),
        **{f"refused_{why}": float(n) for why, n in switch.refused.items()},
    }
