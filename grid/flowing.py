"""Whether the bus flows: a heartbeat of one's own that goes out and comes back."""

import logging
import time
from collections.abc import Callable
from typing import Final

import zmq

from grid.errors import BusError
from grid.publisher import Publisher
from grid.sockets import Addresses
from grid.subscriber import Subscriber

log = logging.getLogger(__name__)

RETRY_S: Final = 0.05
BROKER_TIMEOUT_S: Final = 300.0  # a process that was started before the broker waits so long
SAY_S: Final = 5.0  # between two lines of the log that say what is waited for


def wait_until_flowing(
    context: zmq.Context[zmq.Socket[bytes]],
    addresses: Addresses,
    publisher: Publisher,
    timeout_s: float,
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Publish heartbeats until one comes back through the broker: no event after it is lost.

    Returns:
        Whether one came back; False when `stopping` said so before.

    Raises:
        BusError: none came back within `timeout_s`.
    """
    subscriber = Subscriber(context, addresses.events_out, [f"sys.{publisher.source}"])
    now_s = time.monotonic()
    deadline_s = now_s + timeout_s
    said_s = now_s - SAY_S + 1.0
    try:
        while now_s < deadline_s and not stopping():
            publisher.heartbeat("starting")
            while (event := subscriber.recv(RETRY_S)) is not None:
                envelope = event[1]
                if (envelope.source, envelope.epoch) == (publisher.source, publisher.epoch):
                    return True
            now_s = time.monotonic()
            if now_s - said_s >= SAY_S:
                said_s = now_s
                where, topic = addresses.events_in, f"sys.{publisher.source}"
                log.info("waiting for a broker at %s that lets %s through", where, topic)
    finally:
        subscriber.close()
    if stopping():
        return False
    raise BusError(
        f"{addresses.events_in}: no event came back through the broker within {timeout_s:g} s;"
        f" is it running?"
    )
