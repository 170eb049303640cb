"""A policy on time that it has not seen, beside policies that learned nothing.

One episode over the whole range, through the same env with the same costs, acting as it would
live: deterministic, by ONNX Runtime, one observation at a time.
"""

import csv
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
from tqdm import tqdm

from agents.checkpoint import Checkpoint
from agents.episode import Rows, range_of, run, same_data
from agents.facts import facts
from agents.market_evaluation import evaluate_market
from agents.metrics import Track
from agents.policy import OnnxPolicy
from agents.rivals import rivals
from agents.scorecard import AGENT, Case, Evaluation
from agents.sensitivity import sensitivity
from envs.made_bars import seen
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.durable import write_atomic
from grid.errors import EngineError
from grid.home import Home
from grid.node.ledger import Ledger
from grid.spec import Spec
from grid.venue import Venue

__all__: Final = ["evaluate", "reconcile", "run"]

log = logging.getLogger(__name__)


def evaluate(
    checkpoint: Path,
    home: Home,
    *,
    rows: Rows = "test",
    seed: int = 0,
    trials: int = 1,
    harder: bool = False,
    siblings: Sequence[Path] = (),
    out: Path,
    progress: bool = False,
) -> Evaluation:
    """Run a checkpoint and its rivals over `rows` and write what came of it.

    Args:
        checkpoint: folder of a checkpoint or of a run, whose latest it then is.
        home: where the dataset is.
        rows: `test` or `train` as in the run's config, or a half-open span of two ISO times.
        seed: of the random baseline, and of what is drawn for the intervals.
        trials: configurations that were tried to find this one; the verdict counts them.
        harder: play under other costs and delays, too, see `agents.sensitivity`.
        siblings: checkpoints or runs that differ by their seed, for that.
        out: folder for the results; made if there is none.
        progress: show a bar on stderr.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ConfigError: a sibling differs by more than its seed.
        DataError: the dataset is missing, or not the one that the agent was trained on.
        EngineError: the engine failed, or its account and ours disagree.
    """
    opened = Checkpoint.open(checkpoint)
    if opened.manifest.market is not None:
        evaluation, reports = evaluate_market(
            opened, home,
            rows=rows, seed=seed, trials=trials, harder=harder, siblings=siblings, out=out,
            progress=progress,
        )  # fmt: skip
        _write(evaluation, reports)
        return evaluation
    policy = OnnxPolicy(opened)
    manifest = opened.manifest
    dataset = Dataset.find(home.datasets, manifest.data.name)
    same_data(dataset, manifest)
    dataset = seen(dataset, policy.spec)
    span = range_of(dataset, manifest, rows)
    env = TradingEnv(dataset, policy.spec, manifest.venue, rows=span, keep_history=True)
    with ExitStack() as stack:
        stack.callback(env.close)
        out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be is better known before
        bar = stack.enter_context(tqdm(unit=" steps", desc="evaluate", disable=not progress))
        tracks, notes, reports = _play(env, policy, seed, bar)
        env.close()  # a thread can have one engine
        lo, hi = manifest.data.train_rows
        unseen = span[0] >= hi or span[1] <= lo
        trained = _on_training_rows(dataset, policy, span[1] - span[0], bar) if unseen else None
    cases: tuple[Case, ...] = ()
    if harder:
        cases = sensitivity(checkpoint, home, rows=rows, siblings=siblings, progress=progress)
    found = facts(
        policy.checkpoint, dataset, tracks,
        trained=trained, trials=trials, seed=seed, notes=notes, cases=cases,
    )  # fmt: skip
    evaluation = Evaluation(found, tracks, out)
    _write(evaluation, reports)
    return evaluation


def _play(
    env: TradingEnv, policy: OnnxPolicy, seed: int, bar: "tqdm[Any]"
) -> tuple[dict[str, Track], list[str], dict[str, Any]]:
    agent = run(env, policy, bar)
    reports = env.reports()
    reconcile(agent, reports["account"], policy.spec, env.venue, env.funding)
    others, notes = rivals(policy.checkpoint.manifest, agent, seed)
    tracks = {AGENT: agent} | {name: run(env, other, bar) for name, other in others.items()}
    return tracks, notes, reports


def _on_training_rows(dataset: Dataset, policy: OnnxPolicy, length: int, bar: "tqdm[Any]") -> Track:
    """Play the last rows that the agent learned from, as many as it is judged on."""
    m = policy.checkpoint.manifest
    lo, hi = m.data.train_rows
    env = TradingEnv(dataset, policy.spec, m.venue, rows=(max(lo, hi - length), hi))
    try:
        return run(env, policy, bar)
    finally:
        env.close()
        del env


def reconcile(track: Track, account: Any, spec: Spec, venue: Venue, funding: float = 0.0) -> None:
    """Hold the env's equity against the fills, and against the engine's own account.

    `funding` is what was paid for holding positions.
    """
    ledger = Ledger(spec.capital, track.multiplier)
    for _, qty, px, commission, _ in track.fills:
        ledger.fill(float(qty), float(px), float(commission))
    ledger.charge(funding)
    mark = float(track.price[-1])
    # a cash account holds what was bought; a margin account only what was won or lost by it
    engine = float(account["total"].iloc[-1]) if len(account) else spec.capital
    if venue.account == "margin":
        engine += ledger.unrealized(mark)
        ours = ledger.equity(mark)
    else:
        quoted = account[account["currency"].astype(str) == str(account["currency"].iloc[0])]
        engine, ours = float(quoted["total"].iloc[-1]), ledger.cash
    cents = 0.01 * (len(track.fills) + 1)  # the engine rounds money at each fill
    if abs(ledger.equity(mark) - track.equity[-1]) > 1e-6 * spec.capital:
        raise EngineError(
            f"final equity {track.equity[-1]:.2f}, but capital and fills give "
            f"{ledger.equity(mark):.2f}"
        )
    if abs(engine - ours) > cents:
        raise EngineError(
            f"final balance {ours:.2f} by fills, {engine:.2f} by the engine's account, "
            f"expected them within {cents:.2f}"
        )


def _write(evaluation: Evaluation, reports: dict[str, Any]) -> None:
    out = evaluation.out
    for name, frame in reports.items():
        write_atomic(out / f"{name}.csv", frame.to_csv().encode())
    tracks = evaluation.tracks
    longest = max(tracks.values(), key=lambda t: t.steps)
    draft = out / ".curves.csv"
    with draft.open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(
            ["ts_event_ns", "price", *(f"{n}_{c}" for n in tracks for c in ("equity", "qty"))]
        )
        for i in range(longest.steps + 1):
            cells = [
                x
                for t in tracks.values()
                for x in ((t.equity[i], t.position_qty[i]) if i <= t.steps else ("", ""))
            ]
            writer.writerow([longest.ts_ns[i], longest.price[i], *cells])
    draft.rename(out / "curves.csv")
    raw = msgspec.json.format(msgspec.json.encode(evaluation.facts), indent=1)
    write_atomic(out / "evaluation.json", raw)
    log.info("evaluation written to %s", out)
