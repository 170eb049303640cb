"""The whole circle on real data: import, train, evaluate, trade on the grid, replay, compare."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from agents import config as runs
from agents import parity, report
from agents.evaluation import evaluate
from agents.rehearsal import CHAMPION, rehearse
from agents.scorecard import Evaluation, render
from agents.training import train
from envs.data.demo import import_demo
from grid import transcript
from grid.dataset import Manifest, to_iso
from grid.errors import ParityError
from grid.home import Home
from grid.session import Session, find
from grid.transcript import Transcript

CONFIG: Final = Path("configs", "train", "eurusd-ppo.toml")
SHADOW: Final = "momentum"
_ROWS_PER_S: Final = 250
_SHORT_START: Final = "2017-12-01"
_SHORT_STEPS: Final = 4_096


def demo(home: Home, command: Sequence[str], root: Path, *, short: bool = False) -> int:
    """Run the circle and print what happened; return the exit code.

    Args:
        home: where everything goes.
        command: how the processes of the grid are started.
        root: folder that holds `configs`.
        short: train and trade less.

    Raises:
        ParityError: replay, live and env do not agree.
    """
    began_s = time.monotonic()
    with _stage(1, "real market data"):
        manifest = import_demo(home)
        print(f"   {_data_line(manifest)}")
    more = [f"run.total_steps={_SHORT_STEPS}", "run.checkpoint_every_steps=2048"] if short else []
    run = runs.load(root / CONFIG, more)
    start = _SHORT_START if short else run.data.test[0]
    with _stage(2, f"train a PPO agent on {run.data.train[0]} to {run.data.train[1]}"):
        checkpoint = train(run, home, replace=True)
        print(f"   checkpoint {checkpoint.name} after {run.run.total_steps:,} decisions")
    out = home.reports / f"demo-{checkpoint.name}"
    with _stage(3, f"evaluate on the held-out time, {start} to {run.data.test[1]}"):
        rows = (start, run.data.test[1])
        evaluation = evaluate(checkpoint, home, rows=rows, out=out, progress=True)
        print(_indent(render(evaluation)))
    with _stage(4, "trade the same time on the grid, in paper money"):
        rehearse(
            checkpoint, home, command, dataset=run.data.dataset, span=rows, name="demo",
            speed=_ROWS_PER_S, shadow=SHADOW,
        )  # fmt: skip
    with _stage(5, "replay the session and compare it with live and env"):
        path = find(home.sessions, "latest")
        live = transcript.read(Session.open(path))[-1]
        checks = [*parity.compare(live, home), _same_end(live, evaluation)]
        print(_indent(parity.render(checks)))
    html = report.write_report(
        out / "report.html",
        evaluation,
        session=_facts(path, live),
        parity=[(c.what, c.equal, c.detail) for c in checks],
    )
    print(f"\n{_summary(live, checks, time.monotonic() - began_s)}")
    print(f"report      {html}\nsession     {path}\ncheckpoint  {checkpoint}")
    if not all(c.equal for c in checks):
        raise ParityError("replay, live and env do not agree; the table above says where")
    return 0


def _same_end(live: Transcript, evaluation: Evaluation) -> parity.Check:
    last = live.decisions[max(live.decisions)].account.equity
    tested = float(evaluation.tracks["agent"].equity[-1])
    return parity.Check(
        "final equity: live = evaluation", last == tested, f"{last!r} and {tested!r}"
    )


def _facts(path: Path, live: Transcript) -> report.SessionFacts:
    latencies = {
        f"{agent}: decision published to action received": np.array(live.latencies_us(agent))
        for agent in live.agents
    }
    return report.SessionFacts(
        name=path.name,
        latency_us=latencies,
        facts={
            "decisions": f"{len(live.decisions):,}",
            "answered by the champion": f"{_by_action(live):,}",
            "orders": f"{len({o.client_order_id for o in live.orders}):,}",
            "fills": f"{len(live.fills):,}",
            "events missing in the recording": f"{live.missing:,}",
        },
    )


def _summary(live: Transcript, checks: Sequence[parity.Check], seconds: float) -> str:
    p50, p99 = np.percentile(live.latencies_us(CHAMPION), [50, 99])
    equal = sum(c.equal for c in checks)
    lines = {
        "decisions": f"{len(live.decisions):,} live, {_by_action(live):,} answered in time by "
        f"{CHAMPION}; p50 {p50:,.0f} us, p99 {p99:,.0f} us from decision to action",
        "trading": f"{len(live.fills):,} fills, in a sandbox, with costs as configured",
        "agreement": f"{equal} of {len(checks)} comparisons of live, replay and env are equal",
        "time": f"{seconds:.0f} s in all",
        "note": "these figures say what was measured here, and nothing about future profit",
    }
    return "\n".join(f"{label:<11} {text}" for label, text in lines.items())


def _by_action(live: Transcript) -> int:
    return sum(o.how == "action" for o in live.outcomes.values())


def _data_line(m: Manifest) -> str:
    return (
        f"{m.rows:,} {m.bar} bars of {m.instrument.id}, {to_iso(m.start_ns)} to "
        f"{to_iso(m.end_ns)}, from {m.source}"
    )


def _indent(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())


@contextmanager
def _stage(number: int, what: str) -> Iterator[None]:
    began_s = time.monotonic()
    print(f"\n{number}/5 {what}", flush=True)
    yield
    print(f"   {time.monotonic() - began_s:.1f} s", flush=True)
