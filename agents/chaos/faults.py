"""The faults: what can happen to a grid, each as a function of a running one and of dice.

Each does its harm, ends it, and says in a sentence what it was. Whether the grid trades again, and
what it did meanwhile, is for others to find out.
"""

import contextlib
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from typing import Final

from agents.chaos import strangers
from agents.chaos.relay import Relay
from agents.chaos.stage import Stage
from grid import wire

type Fault = Callable[[Stage, random.Random], str]

PHASE_S: Final = 5.0  # to wait for a phase of the decision cycle; then it strikes all the same
_PHASES: Final[dict[str, Callable[[wire.Event], bool]]] = {
    "at rest": lambda event: isinstance(event, wire.Outcome),
    "when asked": lambda event: isinstance(event, wire.Decision),
    "order sent": lambda event: isinstance(event, wire.OrderUpdate) and event.status == "submitted",
    "order taken": lambda event: isinstance(event, wire.OrderUpdate) and event.status == "accepted",
    "order filled": lambda event: isinstance(event, wire.Fill),
    "action answered": lambda event: isinstance(event, wire.Acted),
}


class Skipped(Exception):
    """This machine cannot do it, for the reason given."""


def strike(stage: Stage, dice: random.Random, phase: str = "") -> str:
    """Wait for a phase of the decision cycle and a moment more; return its name."""
    phase = phase or dice.choice(list(_PHASES))
    stage.skip()
    stage.wait(_PHASES[phase], PHASE_S)
    time.sleep(dice.choice((0.0, dice.uniform(0.0, 0.003), dice.uniform(0.0, 0.02))))
    return phase


def kill(stage: Stage, dice: random.Random) -> str:
    """Kill a process with -9."""
    return _kill(stage, dice, dice.choice(stage.processes))


def kill_node(stage: Stage, dice: random.Random) -> str:
    """Kill the node with -9."""
    return _kill(stage, dice, "node")


def broker_mid_order(stage: Stage, dice: random.Random) -> str:
    """Kill the broker while an order is on its way."""
    return _kill(stage, dice, "broker", "order sent")


def node_and_venue(stage: Stage, dice: random.Random) -> str:
    """Kill node and venue at the same time."""
    victims = [stage.pid_of("node"), stage.pid_of("venue")]
    phase = strike(stage, dice)
    for pid in victims:
        _signal(pid, signal.SIGKILL)
    return f"node and venue killed, {phase}"


def freeze(stage: Stage, dice: random.Random) -> str:
    """Stop a process for some seconds, and let it go on."""
    name = dice.choice(stage.processes)
    pid = stage.pid_of(name)
    phase, seconds = strike(stage, dice), dice.uniform(0.2, 0.8) * stage.lasting_s
    _signal(pid, signal.SIGSTOP)
    stage.wait(lambda event: False, seconds)
    _signal(pid, signal.SIGCONT)
    return f"{name} stopped for {seconds:.1f} s, {phase}"


def link_delay(stage: Stage, dice: random.Random) -> str:
    """Let all that passes a link be late."""
    late_s = dice.uniform(0.02, 0.3)

    def delay(relay: Relay) -> None:
        relay.delay_s = late_s

    return _link(stage, dice, delay, f"delayed by {late_s * 1e3:.0f} ms")


def link_stall(stage: Stage, dice: random.Random) -> str:
    """Let nothing pass a link for a while, silently."""
    return _link(stage, dice, Relay.stall, "stalled")


def link_half_open(stage: Stage, dice: random.Random) -> str:
    """Take what clients send to nowhere, while their connections look well."""
    return _link(stage, dice, Relay.swallow, "half open")


def link_slow(stage: Stage, dice: random.Random) -> str:
    """Let few bytes a second through."""
    rate = dice.uniform(10_000, 50_000)

    def narrow(relay: Relay) -> None:
        relay.bytes_per_s = rate

    return _link(stage, dice, narrow, f"narrowed to {rate / 1e3:.0f} kB/s")


def link_reset(stage: Stage, dice: random.Random) -> str:
    """Reset all connections of a link, once."""
    name = dice.choice(stage.links.names)
    phase = strike(stage, dice)
    stage.links.do(name, Relay.cut)
    return f"{name} reset, {phase}"


def link_lossy(stage: Stage, dice: random.Random) -> str:
    """Reset all connections of a link again and again, so that bytes are lost under way."""
    name = dice.choice(stage.links.names)
    cuts = dice.randint(4, 8)
    for _ in range(cuts):
        stage.wait(lambda event: False, dice.uniform(0.01, 0.12) * stage.lasting_s)
        stage.links.do(name, Relay.cut)
    return f"{name} reset {cuts} times"


def frames_repeated(stage: Stage, dice: random.Random) -> str:
    """Deliver events and requests twice, after one another and after long."""
    return _frames(stage, dice, repeat=0.3, old=0.1)


def frames_swapped(stage: Stage, dice: random.Random) -> str:
    """Deliver events and requests out of order."""
    return _frames(stage, dice, swap=0.2)


def clock_jump(stage: Stage, dice: random.Random) -> str:
    """Set the wall clock of all processes by up to an hour, to and fro."""
    if stage.clock is None:
        raise Skipped("libfaketime is not installed (Debian: apt-get install faketime)")
    jumps = [dice.uniform(-3_600, 3_600) for _ in range(2)]
    for ahead_s in (*jumps, 0.0):
        strike(stage, dice)
        stage.clock.set(ahead_s)
        stage.wait(lambda event: False, 1.5)
    return f"clock set by {jumps[0]:+.0f} s, {jumps[1]:+.0f} s and back"


def disk_full(stage: Stage, dice: random.Random) -> str:
    """Let no file of the recorder grow any more, as on a disk that is full."""
    pid = stage.pid_of("recorder")
    # at this size a write fails, in place of the signal that Python ignores
    size = max((f.stat().st_size for f in stage.home.sessions.rglob("*") if f.is_file()), default=0)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    if not stage.trades(50, 10.0):
        return "recorder without room on its disk: nothing was traded meanwhile"
    with contextlib.suppress(ProcessLookupError):  # it may have given up, and another one come
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        if stage.pid_of("recorder") == pid:
            _signal(pid, signal.SIGTERM)  # a person who has made room begins a new session
    return "recorder without room on its disk"


def slow_subscriber(stage: Stage, dice: random.Random) -> str:
    """Subscribe to everything and take ten events a second."""
    seconds = dice.uniform(0.5, 1.0) * stage.lasting_s
    taken = strangers.subscribe_slowly(stage, seconds)
    return f"a subscriber that took {taken} events in {seconds:.1f} s"


def thousand_agents(stage: Stage, dice: random.Random) -> str:
    """Let a thousand agents say hello and vanish before they hear anything."""
    return f"{strangers.come_and_vanish(stage, 1_000)} agents came and vanished"


def twin(stage: Stage, dice: random.Random) -> str:
    """Let a second agent say that it is the champion, and act."""
    return f"a second champion acted: {', '.join(strangers.act_as_champion(stage, dice))}"


def rubbish(stage: Stage, dice: random.Random) -> str:
    """Send rubbish to every end."""
    return f"{strangers.send_rubbish(stage, dice)} pieces of rubbish to every end"


FAULTS: Final[dict[str, Fault]] = {
    "kill": kill,
    "kill-node": kill_node,
    "broker-mid-order": broker_mid_order,
    "node-and-venue": node_and_venue,
    "freeze": freeze,
    "delay": link_delay,
    "stall": link_stall,
    "half-open": link_half_open,
    "narrow": link_slow,
    "reset": link_reset,
    "lossy": link_lossy,
    "repeat": frames_repeated,
    "swap": frames_swapped,
    "clock": clock_jump,
    "disk-full": disk_full,
    "slow-subscriber": slow_subscriber,
    "thousand-agents": thousand_agents,
    "twin": twin,
    "rubbish": rubbish,
}
FRAMED: Final = ("repeat", "swap")  # these need relays of frames


def _kill(stage: Stage, dice: random.Random, name: str, phase: str = "") -> str:
    pid = stage.pid_of(name)
    phase = strike(stage, dice, phase)
    _signal(pid, signal.SIGKILL)
    return f"{name} killed, {phase}"


def _link(stage: Stage, dice: random.Random, harm: Callable[[Relay], None], what: str) -> str:
    name, seconds = dice.choice(stage.links.names), dice.uniform(0.2, 1.0) * stage.lasting_s
    phase = strike(stage, dice)
    stage.links.do(name, harm)
    stage.wait(lambda event: False, seconds)
    stage.heal()
    return f"{name} {what} for {seconds:.1f} s, {phase}"


def _frames(
    stage: Stage, dice: random.Random, repeat: float = 0.0, swap: float = 0.0, old: float = 0.0
) -> str:
    before = sum(mischief.done for mischief in stage.mischief)
    for mischief in stage.mischief:
        mischief.repeat, mischief.swap, mischief.old = repeat, swap, old
    stage.wait(lambda event: False, dice.uniform(0.4, 0.8) * stage.lasting_s)
    stage.heal()
    done = sum(mischief.done for mischief in stage.mischief) - before
    return f"{done} frames came twice, late or again"


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
