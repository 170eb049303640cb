"""Steps per second of other projects' envs, in turn with ours on the same bars.

    NAME_hold, NAME_act10    nothing, and a trade every 10 steps; beside ours in the same rounds

Each env lives in a process of its own and all get as much time in every round. What they do in a
step is not the same: `docs/benchmarks.md` says what each leaves out. Whoever cannot be started is
left out and said so.
"""

import statistics
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from agents.bench.env import BARS
from agents.bench.peers.child import Child, Peer
from agents.bench.peers.pace import write_bars
from agents.bench.report import Row
from envs.synthetic import signal
from grid.errors import ProcessDied

OURS: Final = Peer("argonaut", "ours", "envs")
PEERS: Final = (
    Peer("gym-anytrading", "anytrading", "gym_anytrading"),
    Peer("gym-trading-env", "gym_trading", "gym_trading_env"),
    Peer("finrl-numpy", "fin_rl", "finrl", ("numpy",)),
    Peer("finrl-pandas", "fin_rl", "finrl", ("pandas",)),
    Peer("tensortrade", "tensor_trade", "tensortrade"),
    Peer("hftbacktest", "hft", "hftbacktest"),
)
ROUNDS: Final = 5
ROUND_S: Final = 0.5
KINDS: Final = ("hold", "act10")


def run() -> tuple[list[Row], list[str]]:
    """Measure; takes about a minute, and longer the first time, when uv makes environments.

    Returns:
        Rows, and what to know of them: the versions, and who is missing and why.

    Raises:
        ProcessDied: our own env failed.
    """
    notes: list[str] = []
    with TemporaryDirectory(prefix="argonaut-") as folder, ExitStack() as stack:
        bars = Path(folder) / "bars.csv"
        write_bars(bars, signal(BARS, seed=1).columns)
        children = {}
        for peer in (OURS, *PEERS):
            try:
                child = stack.enter_context(closing(Child(peer, bars)))
                for kind in KINDS:
                    child.rate(kind, ROUND_S / 5)  # compiles and fills caches
            except ProcessDied as e:
                if peer is OURS:
                    raise
                notes.append(str(e))
                continue
            children[peer.name] = child
        found = _rounds(children, notes)
        notes += [f"{name} {child.version}" for name, child in children.items() if name in found]
    ours = found.pop(OURS.name)
    rows = [
        Row.of(f"{name}_{kind}", rates[kind], "steps/s", ours[kind])
        for name, rates in found.items()
        for kind in KINDS
    ]
    return rows, notes


def _rounds(children: dict[str, Child], notes: list[str]) -> dict[str, dict[str, float]]:
    """Medians of each kind; who fails on the way is left out."""
    rates: dict[str, dict[str, list[float]]] = {n: {k: [] for k in KINDS} for n in children}
    for _ in range(ROUNDS):
        for kind in KINDS:
            for name in list(rates):
                try:
                    rates[name][kind].append(children[name].rate(kind, ROUND_S))
                except ProcessDied as e:
                    if name == OURS.name:
                        raise
                    notes.append(str(e))
                    del rates[name]
    return {n: {k: statistics.median(v) for k, v in by.items()} for n, by in rates.items()}
