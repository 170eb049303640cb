"""A recorded session again: through the engine, back to the bus, or out as a dataset."""

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from agents import parity, worker
from agents.interrupts import Interrupts
from agents.parity import Check
from agents.policy import Policy, load_policy
from agents.seat import Seat
from envs import rerun
from envs.data.read import Rows
from envs.data.write import write
from grid import broker, transcript, wire
from grid.bus import Addresses, Publisher, Responder, new_context, wait_until_flowing
from grid.cutting import ALL, Span, part
from grid.dataset import Manifest, to_iso
from grid.epoch import next_epoch
from grid.errors import BusError, SessionError
from grid.home import Home
from grid.process import Lifeline
from grid.rejudging import limits_of
from grid.replayer import Replayed, Replayer
from grid.session import Session
from grid.transcript import Transcript

log = logging.getLogger(__name__)

_FLOW_TIMEOUT_S: Final = 20.0
_JOIN_TIMEOUT_S: Final = 30.0
_TTL_S: Final = 5.0
_NAME: Final = "replayer"


def to_engine(path: Path, home: Home, agent: str = "", span: Span = ALL) -> list[Check]:
    """Run a session through the engine again and compare it with the recording.

    Args:
        path: of the session.
        home: where the checkpoints are.
        span: the part that is wanted; of decisions, it is the newest run's.
        agent: a checkpoint or baseline:NAME to ask in place of the recorded champion; its answers
            are counted, not required to be the same.

    Raises:
        SessionError: the session holds no run, or no decision in that part, or is not readable.
    """
    session = Session.open(path)
    runs = transcript.read(session)
    if span != ALL:
        runs = [part(runs[-1], span)]
    checks: list[Check] = []
    limits = limits_of(session.manifest.config) if session.manifest else None
    for run in runs:
        if not run.decisions:
            continue
        checks += [*parity.compare(run, home), parity.judged(run, limits)[0]]
        if agent:
            checks.append(_agreement(run, agent))
    if not checks and not session.damage:
        raise SessionError(f"{path}: no decision was taken in this session")
    if session.damage:
        checks.append(Check("recording: undamaged", False, session.damage))
    return checks


def to_bus(
    path: Path,
    home: Home,
    *,
    addresses: Addresses | None = None,
    speed: float = 1.0,
    step: bool = False,
    agent: str = "",
    span: Span = ALL,
    rounds: int = 1,
) -> Replayed:
    """Play a session's newest run to the bus; Ctrl-C ends it, and what was played is told.

    Args:
        path: of the session.
        home: for epochs and checkpoints.
        addresses: of a grid whose broker runs; None to run one here.
        speed: times real time; 0 is as fast as possible.
        step: wait for Enter before each decision.
        agent: a checkpoint or baseline:NAME that answers in the recorded champion's place; by
            default the recorded champion's own policy, if its checkpoint is here.
        span: the part that is wanted.
        rounds: how often; 0 for until it is interrupted. Each is a run of its own to those who
            listen, under a new epoch.

    Raises:
        BusError: the broker does not answer, or the agent does not join.
        SessionError: the session holds no run, or no decision in that part.
    """
    session = Session.open(path)
    run = part(transcript.read(session)[-1], span)
    if flaws := _flaws(session, run):
        log.warning("%s is not whole: %s", path, flaws)
    policy = load_policy(agent, run.spec) if agent else _recorded_policy(run, home)
    with TemporaryDirectory(prefix="argonaut-") as folder, _Threads() as threads:
        if addresses is None:
            addresses = Addresses.ipc(Path(folder))
            bus, epoch = addresses, next_epoch(home.epochs, "broker")
            threads.start(lambda life: broker.run(bus, life, epoch=epoch))
        champion = "replayed" if policy is not None else ""
        if policy is not None:
            seat = Seat(champion, run.info.strategy_id, "champion", policy)
            bus = addresses
            threads.start(lambda life: worker.run(seat, "agent-replayed", bus, home.epochs, life))
        played = Replayed(rounds=0)
        with Interrupts() as interrupts:
            while not played.interrupted and (not rounds or played.rounds < rounds):
                played.add(_round(run, addresses, home, champion, speed, step, interrupts))
        return played


def _round(
    run: Transcript,
    addresses: Addresses,
    home: Home,
    champion: str,
    speed: float,
    step: bool,
    interrupts: Interrupts,
) -> Replayed:
    context = new_context()
    publisher = Publisher(
        context, addresses.events_in, _NAME, next_epoch(home.epochs, _NAME), role="replayer",
        wait_s=1.0,
    )  # fmt: skip
    responder = Responder(context, addresses.strategies)
    replayer = Replayer(run, publisher, responder, champion=champion, ttl_s=_TTL_S)
    try:
        interrupts.arm()
        wait_until_flowing(context, addresses, publisher, _FLOW_TIMEOUT_S)
        if champion and not replayer.wait_for_champion(_JOIN_TIMEOUT_S):
            raise BusError(f"the agent did not join within {_JOIN_TIMEOUT_S:g} s")
        return _play(replayer, run, speed, step)
    except KeyboardInterrupt:
        played = replayer.settle()
        played.interrupted = True
        return played
    finally:
        interrupts.disarm()
        responder.close()
        publisher.close()
        context.destroy(linger=500)


def export(path: Path, name: str, home: Home, *, replace: bool = False) -> Manifest:
    """Write the rows of a session's newest run as a dataset.

    Raises:
        DataError: a dataset of that name is there already.
        SessionError: the session holds no rows.
    """
    session = Session.open(path)
    run = transcript.read(session)[-1]
    flaws = _flaws(session, run)
    data = rerun.dataset_of(run, name)
    data = data.ticks or data  # bars that were made can be made again
    m = data.manifest
    return write(
        Rows(data.columns, m.quality, m.bar, m.interval_ns),
        m.instrument,
        kind=m.kind,
        name=name,
        datasets=home.datasets,
        source=f"{path.name}: {m.source}" + (f"; not whole: {flaws}" if flaws else ""),
        replace=replace,
    )


def _flaws(session: Session, run: Transcript) -> str:
    missing = f"{run.missing} events missing" if run.missing else ""
    return "; ".join(filter(None, (session.damage, missing)))


def render(result: Replayed) -> str:
    """Return what a replay to the bus found, for people."""
    rate = result.events / result.seconds if result.seconds else 0.0
    rounds = f" in {result.rounds} rounds" if result.rounds > 1 else ""
    lines = [
        f"{result.events} events in {result.seconds:.2f} s, {rate:,.0f} a second, "
        f"{result.decisions} decisions{rounds}"
    ]
    sent = [f"{n} {name}" for name, n in sorted(result.sent.items())]
    lines.append(f"sent: {', '.join(sent) or 'nothing'}; {result.dropped} dropped")
    if result.answered:
        lines.append(f"{result.answered} answered in time, {result.equal} with the recorded target")
    if result.late_s > 0.01:
        lines.append(f"up to {result.late_s * 1e3:.0f} ms behind the recorded times")
    if result.interrupted:
        lines.append("interrupted: the rest was not sent")
    return "\n".join(lines)


def _play(replayer: Replayer, run: Transcript, speed: float, step: bool) -> Replayed:
    began_ns = run.began_ns

    def due_s(published_ns: int) -> float:
        return (published_ns - began_ns) / 1e9 / speed

    hidden = True if step else None  # on a terminal only, and not into a person's answers
    with tqdm(total=len(run.events), unit=" events", leave=False, disable=hidden) as bar:
        return replayer.play(
            None if step or speed <= 0.0 else due_s,
            _ask_person if step else lambda decision: True,
            lambda events, published_ns: _advance(bar, events, published_ns),
        )


def _advance(bar: "tqdm[Any]", events: int, published_ns: int) -> None:
    bar.set_postfix_str(to_iso(published_ns), refresh=False)
    bar.update(events - bar.n)


def _ask_person(decision: wire.Decision) -> bool:
    account = decision.account
    print(
        f"decision {decision.seq}: mark {account.mark_px}, position {account.position_qty:g}, "
        f"equity {account.equity:,.2f}; Enter goes on, q ends ",
        end="",
        flush=True,
    )
    line = sys.stdin.readline() if sys.stdin else ""
    if not line or not sys.stdin.isatty():
        print()
    return bool(line) and line.strip() != "q"


def _agreement(run: Transcript, agent: str) -> Check:
    policy = load_policy(agent, run.spec)
    seen = parity.observations(run)
    same = sum(
        policy.act(np.frombuffer(obs, dtype="<f4")) == run.outcomes[seq].target
        for seq, obs in seen.items()
        if seq in run.outcomes
    )
    return Check(f"asked instead: {agent}", True, f"agrees on {same} of {len(seen)} decisions")


def _recorded_policy(run: Transcript, home: Home) -> Policy | None:
    if not run.agents:
        return None
    return parity.find_policy(run, run.agents[0], home)


class _Threads:
    """Parts of a grid on threads of this process, each with a lifeline of its own."""

    def __init__(self) -> None:
        self._lives: list[tuple[threading.Thread, Lifeline]] = []
        self._errors: list[BaseException] = []

    def __enter__(self) -> "_Threads":
        return self

    def __exit__(self, *_: object) -> None:
        for thread, life in reversed(self._lives):
            life.end()
            thread.join(timeout=5.0)
            life.close()

    def start(self, run: Callable[[Lifeline], None]) -> None:
        life = Lifeline()

        def guarded() -> None:
            try:
                run(life)
            except BaseException as e:
                self._errors.append(e)

        thread = threading.Thread(target=guarded, daemon=True)
        self._lives.append((thread, life))
        thread.start()
