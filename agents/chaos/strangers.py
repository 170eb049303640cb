"""Peers that a grid did not ask for: slow ones, false ones, hasty ones, mad ones."""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import msgspec
import zmq

from agents.chaos import ground
from agents.chaos.stage import Stage
from grid import wire
from grid.bus import Requester, new_context
from grid.errors import BusError
from grid.spec import Spec

_WAVE: Final = 100  # agents at once: each costs three descriptors
_REPLY_S: Final = 1.0
_PIECES: Final = 200


def subscribe_slowly(stage: Stage, seconds: float) -> int:
    """Be a subscriber that takes ten events a second; return how many it took."""
    slow = stage.context.socket(zmq.SUB)
    slow.set(zmq.RCVHWM, 1)
    slow.set(zmq.RCVBUF, 4_096)
    slow.subscribe(b"")
    slow.connect(stage.links.addresses["events_out"])
    taken = 0
    deadline_s = time.monotonic() + seconds
    with closing(slow):
        while time.monotonic() < deadline_s:
            taken += bool(slow.poll(0)) and bool(slow.recv())
            stage.wait(lambda event: False, 0.1)
    return taken


def come_and_vanish(stage: Stage, n: int) -> int:
    """Let `n` agents say hello and leave at once, some of them without a word."""
    digest = _spec(stage).digest
    for first in range(0, n, _WAVE):
        context = new_context()
        sockets = []
        for i in range(first, min(first + _WAVE, n)):
            agent = context.socket(zmq.DEALER)
            agent.connect(stage.links.addresses["requests"])
            hello = wire.Hello(ground.STRATEGY, f"hasty-{i}", "shadow", digest)
            agent.send_multipart([b"", wire.encode(hello)])
            sockets.append(agent)
        stage.wait(lambda event: False, 0.05)
        for agent in sockets:
            agent.close(linger=0)
        context.term()
    return n


def act_as_champion(stage: Stage, dice: random.Random) -> list[str]:
    """Take the champion's name, answer three decisions, repeat each; return the answers."""
    digest = _spec(stage).digest
    said: list[str] = []
    asker = Requester(stage.context, stage.links.addresses["requests"])
    with closing(asker):
        hello = wire.Hello(ground.STRATEGY, ground.CHAMPION, "champion", digest)
        welcome = _ask(asker, hello)
        if not isinstance(welcome, wire.Welcome):
            return [f"not welcome: {welcome}"]
        for n in range(1, 4):
            stage.skip()
            decision = stage.wait(lambda event: isinstance(event, wire.Decision), _REPLY_S)
            if not isinstance(decision, wire.Decision):
                continue
            action = wire.Action(
                ground.STRATEGY, decision.epoch, decision.seq, ground.CHAMPION, welcome.lease, n,
                dice.choice((-1.0, 0.0, 1.0)),
            )  # fmt: skip
            for _ in range(2):
                answer = _ask(asker, action)
                said.append(answer.status if isinstance(answer, wire.Answer) else "nothing")
    return said


def send_rubbish(stage: Stage, dice: random.Random) -> int:
    """Send frames and bytes that mean nothing to every end; return how many to each."""
    doors = {
        "events_in": zmq.PUB,
        "events_out": zmq.SUB,
        "requests": zmq.DEALER,
        "strategies": zmq.DEALER,
        "feed": zmq.DEALER,
        "venue": zmq.DEALER,
    }
    context = new_context()
    for name, kind in doors.items():
        address = stage.links.addresses[name]
        peer = context.socket(kind)
        peer.connect(address)
        stage.wait(lambda event: False, 0.2)
        for junk in _junk(dice):
            if kind == zmq.SUB:
                peer.subscribe(junk[:50])
            elif kind == zmq.PUB:
                peer.send(junk, zmq.NOBLOCK)
            else:
                frames = [b"", junk] if dice.random() < 0.7 else [junk, junk, b""]
                peer.send_multipart(frames, zmq.NOBLOCK)
        peer.close(linger=200)
        host, port = address.removeprefix("tcp://").rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=1.0) as raw:
            raw.sendall(dice.randbytes(500))
    context.destroy(linger=200)
    return _PIECES


def _junk(dice: random.Random) -> Iterator[bytes]:
    """Random bytes, and messages of ours that were cut or bent."""
    true = [
        wire.encode(wire.Renew(ground.STRATEGY, ground.CHAMPION, 1)),
        wire.encode(wire.Credit(1, 1 << 40)),
        wire.encode(wire.Register("nobody", 1)),
        wire.pack("md.x.bar", "ghost", 1, 1, 1, wire.EndOfData("s", 1, 1)),
    ]
    for _ in range(_PIECES):
        piece = bytearray(dice.choice([dice.randbytes(dice.randint(0, 300)), *true]))
        for _ in range(dice.randint(1, 3)):
            if piece:
                piece[dice.randrange(len(piece))] = dice.randrange(256)
        yield bytes(piece[: dice.randint(0, len(piece))])


def _spec(stage: Stage) -> Spec:
    return msgspec.json.decode(ground.spec_file(stage.home).read_bytes(), type=Spec)


def _ask(asker: Requester, request: wire.Request) -> wire.Reply | None:
    try:
        return asker.ask(request, _REPLY_S)
    except BusError:
        return None
