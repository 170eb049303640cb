"""Finding out what the registry demands: runs of the evaluation, the look-ahead check, a grid."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agents import config as runs
from agents import lookahead, parity
from agents.checkpoint import Checkpoint
from agents.config import RunConfig
from agents.evaluation import evaluate
from agents.registry.evidence import DEMANDED, Evidence, What
from agents.rehearsal import rehearse
from agents.scorecard import AGENT
from envs.lookahead.report import sentence
from grid import transcript
from grid.config import convert
from grid.dataset import Dataset, to_iso
from grid.errors import ArgonautError
from grid.home import Home
from grid.session import Session, find

REHEARSED_ROWS: Final = 500  # of the held-out rows, the last ones
_SHOWN: Final = ("log_return", "sharpe", "max_drawdown", "trades", "fees")


def prove(
    checkpoint: Checkpoint,
    home: Home,
    command: Sequence[str],
    tell: Callable[[Evidence], None] = lambda found: None,
) -> list[Evidence]:
    """Run all that the registry demands of a checkpoint.

    What fails is evidence too, and the next one is run all the same.

    Args:
        checkpoint: to find out about.
        home: where its dataset is, and where sessions and reports go.
        command: how the processes of a grid are started.
        tell: called after each.
    """
    proofs: dict[What, Callable[[], Evidence]] = {
        "evaluation": lambda: _evaluation(checkpoint, home),
        "lookahead": lambda: _lookahead(checkpoint, home),
        "parity": lambda: _parity(checkpoint, home, command),
    }
    found = []
    for what in DEMANDED:
        try:
            evidence = proofs[what]()
        except ArgonautError as e:
            evidence = _evidence(what, False, str(e))
        found.append(evidence)
        tell(evidence)
    return found


def _evaluation(checkpoint: Checkpoint, home: Home) -> Evidence:
    out = home.reports / f"evaluation-{checkpoint.digest}"
    evaluation = evaluate(checkpoint.path, home, out=out)
    metrics = evaluation.facts.metrics[AGENT]
    facts = {name: float(v) for name in _SHOWN if (v := getattr(metrics, name)) is not None}
    ruined = evaluation.tracks[AGENT].ruined
    said = (
        f"{evaluation.facts.start} to {evaluation.facts.end}, held out"
        f"{', ruined' if ruined else ''}; the engine's account agrees"
    )
    return _evidence("evaluation", not ruined, said, facts)


def _lookahead(checkpoint: Checkpoint, home: Home) -> Evidence:
    report = lookahead.check(_config(checkpoint), home)
    said = sentence(report) if report.wrong else "nothing before an altered future has changed"
    return _evidence("lookahead", not report.wrong, said)


def _parity(checkpoint: Checkpoint, home: Home, command: Sequence[str]) -> Evidence:
    data = checkpoint.manifest.data
    dataset = Dataset.find(home.datasets, data.name)
    lo, hi = data.test_rows
    ts = dataset.columns["ts_event"][max(lo, hi - REHEARSED_ROWS) : hi]
    span = (to_iso(int(ts[0])), to_iso(int(ts[-1]) + 10**9))
    rehearse(checkpoint.path, home, command, dataset=data.name, span=span, name="rehearsal")
    path: Path = find(home.sessions, "latest")
    checks = parity.compare(transcript.read(Session.open(path))[-1], home)
    differ = "; ".join(f"{check.what}: {check.detail}" for check in checks if not check.equal)
    equal = f"{len(checks)} comparisons of live, replay and env are equal, session {path.name}"
    return _evidence("parity", not differ, differ or equal)


def _config(checkpoint: Checkpoint) -> RunConfig:
    return convert(checkpoint.manifest.config, runs.RunConfig, str(checkpoint.path))


def _evidence(
    what: What, passed: bool, said: str, metrics: dict[str, float] | None = None
) -> Evidence:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Evidence(what=what, passed=passed, said=said, at=at, metrics=metrics or {})
