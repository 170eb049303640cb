"""A node's last wait: it answers on until others have all that it published."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

import zmq

from grid import wire
from grid.bus import Addresses, Requester, Subscriber
from grid.errors import ProtocolError
from grid.node.departure import ASK_S, PATIENCE_S, Departure

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.02  # between two looks at what came
_BEATS: Final = 256  # heartbeats taken at a look


async def part(
    leaving: Departure,
    context: zmq.Context[zmq.Socket[bytes]],
    addresses: Addresses,
    *,
    beat: Callable[[], object],
    serve: Callable[[], object],
) -> None:
    """Return once all is safe, or has been waited for long enough.

    Args:
        leaving: decides what is to be asked for, and when all is safe.
        context: of the sockets.
        addresses: of the bus.
        beat: publishes a heartbeat.
        serve: answers the requests that have come.
    """
    loop = asyncio.get_running_loop()
    subscriber = Subscriber(context, addresses.events_out, ["sys."])
    requester = Requester(context, addresses.requests)
    deadline_s = loop.time() + PATIENCE_S
    ask_s = 0.0
    try:
        while not leaving.safe and loop.time() < deadline_s:
            if loop.time() >= ask_s:
                ask_s = loop.time() + ASK_S
                beat()
                if leaving.want is not None:
                    requester.send(leaving.want)  # again if no broker takes it yet
            await asyncio.sleep(_LOOK_S)
            serve()
            if (reply := requester.recv()) is not None:
                leaving.reply(reply)
            for heartbeat, epoch in _beats(subscriber):
                leaving.heard(heartbeat, epoch)
        if not leaving.safe:
            log.warning("nobody has confirmed the last event within %g s", PATIENCE_S)
    finally:
        subscriber.close()
        requester.close()


def _beats(subscriber: Subscriber) -> Iterator[tuple[wire.Heartbeat, int]]:
    for _, envelope, _ in subscriber.drain(_BEATS):
        try:
            event = wire.event(envelope)
        except ProtocolError:
            continue
        if isinstance(event, wire.Heartbeat):
            yield event, envelope.epoch
