"""Starts the processes of a grid, watches them, starts them again, stops them: no orphan, ever.

`grid.lifecycle` decides, `grid.children` does; this is the loop between them, with the signals, the
clock and the state file.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import msgspec

from grid.children import Children
from grid.errors import ProcessDied
from grid.gridstate import ChildState, Claim, GridState
from grid.home import Home
from grid.lifecycle import Command, Notice, Patience, Plan, ProcessSpec, Signal, Start
from grid.process import BEAT, READY
from grid.topology import GridConfig

log = logging.getLogger(__name__)

TURN_S = 0.5  # the longest wait of the loop


def run(
    config: GridConfig,
    specs: Sequence[ProcessSpec],
    home: Home,
    on_event: Callable[[Notice], None] = lambda notice: None,
    patience: Patience | None = None,
) -> int:
    """Run a grid until it has completed, or until SIGINT, SIGTERM or SIGHUP; return 0.

    Call it from the main thread: it takes over the signals, and gives them back.

    Args:
        config: the grid.
        specs: its processes, in the order in which they start: see `grid.topology.processes`.
        home: for the logs and the state file.
        on_event: called with every notice, as things happen.
        patience: with dying processes.

    Raises:
        BusError: a grid of this name runs already.
        ProcessDied: an essential process was given up; everything else was stopped before.
    """
    logs = home.logs / config.name
    with Claim(home, config.name) as claim, contextlib.closing(Children(logs)) as children:
        return _Supervisor(config, Plan(specs, patience), claim, children, on_event).run()


class _Supervisor:
    """The loop: wait, listen, reap, decide, obey."""

    def __init__(
        self,
        config: GridConfig,
        plan: Plan,
        claim: Claim,
        children: Children,
        on_event: Callable[[Notice], None],
    ) -> None:
        self._config = config
        self._plan = plan
        self._claim = claim
        self._children = children
        self._on_event = on_event
        self._started_ns = time.time_ns()
        self._asked = 0  # to stop, counted by the signals' handler
        self._heeded = 0
        self._last_words = ""

    def run(self) -> int:
        with self._signals():
            self._obey(self._plan.start(time.monotonic()))
            while not self._plan.over:
                self._turn()
        if self._plan.failure is not None:
            raise ProcessDied(f"{self._plan.failure}; {self._last_words}")
        return 0

    def _turn(self) -> None:
        selector = self._children.selector
        selector.select(min(TURN_S, self._plan.wait_s(time.monotonic())))
        # all that was said up to now is heard before silence is judged: when this process, or the
        # machine, was stopped for a while, the beats wait in the pipes
        now = time.monotonic()
        for key, _ in selector.select(0):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.recv(4096)
            else:
                self._listen(key.data)
        for name in self._children.ended():
            self._listen(name)
            self._obey(self._plan.exited(name, self._children.reap(name), now))
        while self._heeded < self._asked:
            self._heeded += 1
            self._obey(self._plan.stop(now))
        self._obey(self._plan.tick(now))

    def _listen(self, name: str) -> None:
        now = time.monotonic()
        for byte in self._children.heard(name):
            if byte == READY[0]:
                self._obey(self._plan.ready(name, now))
            elif byte == BEAT[0]:
                self._obey(self._plan.beat(name, now))

    def _obey(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Start(name=name):
                    self._children.start(self._plan.children[name].spec)
                case Signal(name=name, signum=signum):
                    self._children.signal(name, signum)
                case Notice():
                    pass
        if commands:
            self._write_state()
        # last, so that whoever is told finds it so
        for command in commands:
            if isinstance(command, Notice):
                self._tell(command)

    def _tell(self, notice: Notice) -> None:
        if notice.kind in ("died", "failed"):
            notice = msgspec.structs.replace(notice, log=self._children.last_lines(notice.name))
        if notice.kind == "failed":
            said = notice.log or "nothing"
            self._last_words = f"{self._children.log_file(notice.name)} ends with:\n{said}"
        log.info("%s %s %s", notice.name, notice.kind, notice.detail)
        try:
            self._on_event(notice)
        except OSError as e:  # a terminal that is gone must not keep the grid from a clean stop
            log.warning("nobody was told of it: %s", e)

    def _write_state(self) -> None:
        children = tuple(
            ChildState(
                name=name,
                pid=self._children.pid(name),
                phase=child.phase,
                restarts=child.total_restarts,
                log=str(self._children.log_file(name)),
            )
            for name, child in self._plan.children.items()
        )
        state = GridState(
            name=self._config.name,
            strategy_id=self._config.node.strategy_id,
            pid=os.getpid(),
            started_ns=self._started_ns,
            addresses=self._config.bus,
            children=children,
            security=self._config.security,
        )
        try:
            self._claim.write(state)
        except OSError as e:  # no reason to stop trading
            log.warning("state of the grid not written: %s", e)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Count requests to stop, and wake the loop on those and when a child ends."""

        def asked(number: int, frame: FrameType | None) -> None:
            self._asked += number != signal.SIGCHLD

        wake, waker = socket.socketpair()
        with wake, waker:
            wake.setblocking(False)
            waker.setblocking(False)
            self._children.selector.register(wake, selectors.EVENT_READ)
            before = {s: signal.signal(s, asked) for s in (*_stop_signals(), signal.SIGCHLD)}
            woken = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
            try:
                yield
            finally:
                signal.set_wakeup_fd(woken)
                for signum, handler in before.items():
                    signal.signal(signum, handler)
                self._children.selector.unregister(wake)


def _stop_signals() -> list[signal.Signals]:
    hangup = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN  # ignored: started with nohup
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangup else [])]
