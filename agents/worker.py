"""The agent process: receive, observe, decide, act. Light: neither engine nor torch.

One thread does everything, so a policy that hangs also stops the heartbeat, and a stuck agent
looks dead to its supervisor.
"""

import logging
import time
from pathlib import Path
from typing import Final

import msgspec

from agents.policy import Policy
from agents.registry.watch import NameWatch
from agents.seat import Seat
from grid import wire
from grid.bus import (
    BROKER_TIMEOUT_S,
    Addresses,
    Publisher,
    Requester,
    Subscriber,
    Waiter,
    new_context,
    wait_until_flowing,
)
from grid.epoch import next_epoch
from grid.errors import ProtocolError, SpecMismatch
from grid.process import Lifeline

log = logging.getLogger(__name__)

_BEAT_NS: Final = 500_000_000
_IDLE_S: Final = 0.1
_BURST: Final = 256  # events taken before the clock is looked at again


def run(
    seat: Seat,
    name: str,
    addresses: Addresses,
    epochs: Path,
    life: Lifeline,
    watch: NameWatch | None = None,
) -> None:
    """Answer decisions until told to stop; `watch` tells of another policy to decide by.

    Raises:
        BusError: the broker does not answer.
        SpecMismatch: the strategy refuses this agent for good.
    """
    context = new_context()
    publisher = Publisher(
        context, addresses.events_in, name, next_epoch(epochs, name), role=f"agent {seat.role}"
    )
    topics = [f"{seat.row_topic}\0", f"{seat.decision_topic}\0"]
    subscriber = Subscriber(context, addresses.events_out, topics)
    requester = Requester(context, addresses.requests)
    try:
        if not wait_until_flowing(
            context, addresses, publisher, BROKER_TIMEOUT_S, lambda: life.stopping
        ):
            return
        life.ready()
        _serve(seat, publisher, subscriber, requester, life, watch)
        publisher.heartbeat("stopped", _counters(seat, subscriber, requester))
    finally:
        for end in (subscriber, requester, publisher):
            end.close()
        context.destroy(linger=500)


def _serve(
    seat: Seat,
    publisher: Publisher,
    subscriber: Subscriber,
    requester: Requester,
    life: Lifeline,
    watch: NameWatch | None,
) -> None:
    waiter = Waiter((subscriber, requester, life.wake_fd))
    next_beat_ns = 0
    followed = ""
    while not life.stopping:
        waiter.wait(_IDLE_S)
        taken = 0
        while taken < _BURST or subscriber.pending:
            received = subscriber.recv()
            if received is None:
                break
            taken += 1
            topic, envelope, _frame = received
            began_ns = time.monotonic_ns()
            try:
                action = seat.event(topic, envelope, began_ns)
            except ProtocolError as e:
                seat.counts["bad"] += 1
                log.warning("%s: %s", topic, e)
                continue
            if action is not None:
                took_ns = time.monotonic_ns() - began_ns
                _send(seat, requester, msgspec.structs.replace(action, policy_ns=took_ns))
        while (reply := requester.recv()) is not None:
            action = seat.reply(reply, time.monotonic_ns())
            if action is not None:
                _send(seat, requester, action)
        if seat.market_source != followed:
            followed = seat.market_source
            subscriber.follow(f"sys.{followed}\0")
        if seat.refused:
            raise SpecMismatch(f"agent {seat.agent_id} at {seat.strategy_id}: {seat.refused}")
        now_ns = time.monotonic_ns()
        if watch is not None and (found := watch.poll(now_ns)) is not None:
            _change(seat, *found)
        while (due := seat.tick(now_ns)) is not None:
            _send(seat, requester, due)
        if now_ns >= next_beat_ns:
            next_beat_ns = now_ns + _BEAT_NS
            publisher.heartbeat(seat.state, _counters(seat, subscriber, requester))
            life.beat()


def _change(seat: Seat, policy: Policy, name: str) -> None:
    before = seat.policy_name
    if seat.change_to(policy, name):
        log.info("decides by checkpoint %s from now on, in place of %s", name, before)
    else:
        log.warning("checkpoint %s sees or does other things than %s, which stays", name, before)


def _send(seat: Seat, requester: Requester, request: wire.Request) -> None:
    if not requester.send(request):
        seat.counts["unsent"] += 1  # no broker; the tick tries again while it is in time


def _counters(seat: Seat, subscriber: Subscriber, requester: Requester) -> dict[str, float]:
    counts = {k: float(v) for k, v in seat.counts.items()}
    counts["bad"] = counts.get("bad", 0.0) + subscriber.bad + requester.bad
    counts["trades"] = float(seat.trades)
    return counts
