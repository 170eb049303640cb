"""An agent on several instruments, or one that orders, on time that it has not seen.

What `agents.evaluation` is to one position: one episode over the whole span through the same env
with the same costs, by ONNX Runtime, beside policies that learned nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from agents import market_policy
from agents.checkpoint import Checkpoint, Manifest
from agents.episode import Rows
from agents.facts import facts
from agents.market_episode import Played, datasets_of, env_of, run, span_of
from agents.market_policy import MarketPolicy
from agents.market_rivals import rivals
from agents.metrics import Track, measure
from agents.scorecard import AGENT, Case, Evaluation
from agents.sensitivity import check_sibling, worlds
from envs.made_bars import seen
from grid.dataset import Dataset
from grid.errors import ConfigError, EngineError
from grid.home import Home
from grid.node.ledger import Ledger
from grid.venue import Venue

type Reports = dict[str, Any]


def evaluate_market(
    checkpoint: Checkpoint,
    home: Home,
    *,
    rows: Rows = "test",
    seed: int = 0,
    trials: int = 1,
    harder: bool = False,
    siblings: Sequence[Path] = (),
    out: Path,
    progress: bool = False,
) -> tuple[Evaluation, Reports]:
    """Return what came of a checkpoint and its rivals over `rows`, and the engine's own reports.

    Arguments and errors are those of `agents.evaluation.evaluate`.
    """
    others = [Checkpoint.open(path) for path in siblings]
    for other in others:
        check_sibling(other, checkpoint)
    manifest = checkpoint.manifest
    policy = market_policy.load(checkpoint)
    datasets = datasets_of(manifest, home)
    span_ns = span_of(manifest, rows)
    with ExitStack() as stack:
        env = env_of(manifest, datasets, span_ns, keep_history=True)
        stack.callback(env.close)
        out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be is better known before
        bar = stack.enter_context(tqdm(unit=" steps", desc="evaluate", disable=not progress))
        played = run(env, policy, bar)
        reports = env.reports()
        reconcile(played, reports, manifest)
        beside, notes = rivals(manifest, policy.spec, played.track, seed)
        tracks = {AGENT: played.track}
        tracks |= {name: run(env, rival, bar).track for name, rival in beside.items()}
        env.close()  # a thread can have one engine
        trained_ns = span_of(manifest, "train")
        unseen = span_ns[0] >= trained_ns[1] or span_ns[1] <= trained_ns[0]
        trained = None
        if unseen:
            trained = _on_training_span(manifest, datasets, policy, played.track.steps, bar)
    cases = _cases(checkpoint, others, datasets, span_ns) if harder else ()
    first = policy.spec.views[0]
    found = facts(
        checkpoint, seen(datasets[first.dataset], first.spec), tracks,
        trained=trained, trials=trials, seed=seed, notes=notes, cases=cases,
        currency=played.instruments[0].currency,
    )  # fmt: skip
    return Evaluation(found, tracks, out), reports


def reconcile(played: Played, reports: Reports, manifest: Manifest) -> None:
    """Hold the env's equity against the fills, and against the engine's own accounts.

    Raises:
        EngineError: they disagree.
    """
    market = manifest.market
    assert market is not None
    ledgers = {i.id: Ledger(0.0, i.multiplier) for i in played.instruments}
    for _, fill in played.fills:
        ledgers[fill.instrument_id].fill(fill.signed_qty, fill.px, fill.commission)
    marks = dict(zip(ledgers, played.prices[-1].tolist(), strict=True))
    ours = market.capital - played.funding + sum(x.equity(marks[i]) for i, x in ledgers.items())
    found = float(played.track.equity[-1])
    if abs(ours - found) > 1e-6 * market.capital:
        raise EngineError(f"final equity {found:.2f}, but capital and fills give {ours:.2f}")
    engine = market.capital + sum(x.unrealized(marks[i]) for i, x in ledgers.items())
    for name, account in reports.items():  # each venue's begins with the whole capital
        if name.startswith("account") and len(account):
            engine += float(account["total"].iloc[-1]) - market.capital
    cents = 0.01 * (len(played.fills) + 1)  # the engine rounds money at each fill
    if abs(engine - ours) > cents:
        raise EngineError(
            f"final equity {ours:.2f} by fills, {engine:.2f} by the engine's accounts, expected "
            f"them within {cents:.2f}"
        )


def _on_training_span(
    manifest: Manifest,
    datasets: Mapping[str, Dataset],
    policy: MarketPolicy,
    steps: int,
    bar: "tqdm[Any]",
) -> Track:
    """Play the last decisions that the agent learned from, as many as it is judged on."""
    lo, hi = span_of(manifest, "train")
    env = env_of(manifest, datasets, (lo, hi))
    first = int(env.times_ns[max(0, len(env.times_ns) - 1 - steps)])
    env.close()
    return _play(manifest, datasets, policy, (first, hi), manifest.venue, bar)


def _cases(
    checkpoint: Checkpoint,
    siblings: Sequence[Checkpoint],
    datasets: Mapping[str, Dataset],
    span_ns: tuple[int, int],
) -> tuple[Case, ...]:
    """Play under other costs, later actions and other seeds, as `agents.sensitivity` does."""
    m = checkpoint.manifest
    policy = market_policy.load(checkpoint)
    runs = [
        *((name, policy, venue, delay) for name, venue, delay in worlds(m)),
        *((f"seed {o.manifest.seed}", market_policy.load(o), m.venue, 0) for o in siblings),
    ]
    cases = []
    for name, acting, venue, delay in runs:
        try:
            track = _play(m, datasets, acting, span_ns, venue, delay=delay)
            cases.append(Case(name=name, metrics=measure(track)))
        except ConfigError as e:  # a latency that the data cannot tell, say
            cases.append(Case(name=name, metrics=None, note=str(e)))
    return tuple(cases)


def _play(
    manifest: Manifest,
    datasets: Mapping[str, Dataset],
    policy: MarketPolicy,
    span_ns: tuple[int, int],
    venue: Venue,
    bar: "tqdm[Any] | None" = None,
    delay: int = 0,
) -> Track:
    env = env_of(manifest, datasets, span_ns, venue)
    try:
        return run(env, policy, bar, delay=delay).track
    finally:
        env.close()
        del env  # by the thread that made it
