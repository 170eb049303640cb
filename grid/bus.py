"""The ends of the bus: publisher, subscriber, requester, responder. Only the broker is its middle.

Sockets belong to the thread that made them. Nothing here blocks longer than it is told to, every
queue has a bound, and what is dropped is counted. Law: docs/protocol.md.
"""

from grid.context import new_context
from grid.flowing import BROKER_TIMEOUT_S, SAY_S, wait_until_flowing
from grid.publisher import BATCH_EVENTS, Publisher
from grid.requests import REQUESTS_HWM, Requester, Responder
from grid.sockets import (
    EVENTS_HWM,
    Addresses,
    Waiter,
    new_socket,
    readable,
    send_frames,
    wait,
)
from grid.subscriber import Subscriber

__all__ = [
    "BATCH_EVENTS",
    "BROKER_TIMEOUT_S",
    "EVENTS_HWM",
    "REQUESTS_HWM",
    "SAY_S",
    "Addresses",
    "Publisher",
    "Requester",
    "Responder",
    "Subscriber",
    "Waiter",
    "new_context",
    "new_socket",
    "readable",
    "send_frames",
    "wait",
    "wait_until_flowing",
]
