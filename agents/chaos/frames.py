"""Relays that know frames: they repeat them, swap them, and bring old ones again.

TCP delivers each byte once and in order, so no relay of bytes can do that; a broken client, or one
who records and repeats, can. One thread for each, as a ZeroMQ peer of both sides.
"""

import random
import threading
import time
from collections import OrderedDict, deque
from typing import Final

import zmq

from grid.bus import new_context, new_socket

_POLL_MS: Final = 20
_CLIENTS: Final = 200  # whose connections are kept open
_HELD_S: Final = 0.05  # a swapped frame waits no longer for the one behind it
_OLD: Final = 500


class Mischief:
    """What is done to frames, and how often.

    Args:
        seed: of the dice.

    Attributes:
        repeat: share of frames that come twice.
        swap: share of frames that come after the next one.
        old: share of frames that are followed by one of long ago.
        done: frames that were repeated, swapped or brought again.
    """

    def __init__(self, seed: int) -> None:
        self.repeat = self.swap = self.old = 0.0
        self.done = 0
        self._dice = random.Random(seed)
        self._past: deque[list[bytes]] = deque(maxlen=_OLD)
        self._held: list[bytes] | None = None
        self._held_s = 0.0

    def heal(self) -> None:
        """Do nothing any more."""
        self.repeat = self.swap = self.old = 0.0

    def take(self, message: list[bytes], now_s: float) -> list[list[bytes]]:
        """Take a message; return those to be sent now, in order."""
        out = [message]
        if self._held is not None:
            out.append(self._held)
            self._held = None
        elif self._dice.random() < self.swap:
            self._held, self._held_s, out = message, now_s, []
            self.done += 1
        if out and self._dice.random() < self.repeat:
            out.insert(1, message)
            self.done += 1
        if out and self._past and self._dice.random() < self.old:
            out.append(self._dice.choice(self._past))
            self.done += 1
        self._past.append(message)
        return out

    def overdue(self, now_s: float) -> list[list[bytes]]:
        """Return what was held back for a successor that did not come."""
        if self._held is None or now_s - self._held_s < _HELD_S:
            return []
        held, self._held = self._held, None
        return [held]


class _FrameRelay:
    """A thread between a socket that is bound here and those that lead to the target."""

    def __init__(self, here: str, target: str, mischief: Mischief) -> None:
        self.mischief = mischief
        self._target = target
        self._over = threading.Event()
        self._context = new_context()
        self._front = self._bound(here)
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the sockets."""
        self._over.set()
        self._thread.join(5.0)
        self._context.destroy(linger=0)

    def _bound(self, here: str) -> zmq.Socket[bytes]:
        raise NotImplementedError

    def _turn(self) -> None:
        raise NotImplementedError

    def _run(self) -> None:
        while not self._over.is_set():
            self._turn()


class EventFrames(_FrameRelay):
    """Between publishers and the broker."""

    def _bound(self, here: str) -> zmq.Socket[bytes]:
        front = new_socket(self._context, zmq.SUB)
        front.set(zmq.RCVHWM, 0)
        front.subscribe(b"")
        front.bind(here)
        self._back = new_socket(self._context, zmq.PUB)
        self._back.set(zmq.SNDHWM, 0)
        self._back.connect(self._target)
        return front

    def _turn(self) -> None:
        sending = self.mischief.overdue(time.monotonic())
        if self._front.poll(_POLL_MS):
            sending += self.mischief.take([self._front.recv()], time.monotonic())
        for (frame,) in sending:
            self._back.send(frame)


class RequestFrames(_FrameRelay):
    """Between agents and the broker: for each agent's connection one of its own."""

    def _bound(self, here: str) -> zmq.Socket[bytes]:
        front = new_socket(self._context, zmq.ROUTER)
        front.bind(here)
        self._backs: OrderedDict[bytes, zmq.Socket[bytes]] = OrderedDict()
        self._poller = zmq.Poller()
        self._poller.register(front, zmq.POLLIN)
        return front

    def _turn(self) -> None:
        ready = dict(self._poller.poll(_POLL_MS))
        sending = self.mischief.overdue(time.monotonic())
        if self._front in ready:
            sending += self.mischief.take(self._front.recv_multipart(), time.monotonic())
        for client, *frames in sending:
            self._back(client).send_multipart(frames)
        for client, back in list(self._backs.items()):
            if back in ready and back.poll(0):
                self._front.send_multipart([client, *back.recv_multipart()])

    def _back(self, client: bytes) -> zmq.Socket[bytes]:
        back = self._backs.get(client)
        if back is None:
            back = new_socket(self._context, zmq.DEALER)
            back.connect(self._target)
            self._poller.register(back, zmq.POLLIN)
            self._backs[client] = back
            if len(self._backs) > _CLIENTS:
                _, oldest = self._backs.popitem(last=False)
                self._poller.unregister(oldest)
                oldest.close()
        self._backs.move_to_end(client)
        return back
