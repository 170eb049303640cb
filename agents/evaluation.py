"""A policy on time that it has not seen, beside policies that learned nothing.

One episode over the whole range, through the same env with the same costs, acting as it would
live: deterministic, by ONNX Runtime, one observation at a time.
"""

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tqdm import tqdm

from agents.baselines import Constant, Momentum, Random
from agents.checkpoint import Checkpoint, Manifest
from agents.durable import write_atomic
from agents.metrics import Track, measure
from agents.policy import OnnxPolicy, Policy
from agents.scorecard import AGENT, Evaluation, Facts
from envs.trading import TradingEnv
from grid.dataset import Dataset, to_iso, to_ns
from grid.errors import DataError, EngineError, SpecMismatch
from grid.home import Home
from grid.node.ledger import Ledger
from grid.spec import Spec
from grid.venue import Venue

log = logging.getLogger(__name__)

type Rows = str | tuple[str, str]


def evaluate(
    checkpoint: Path,
    home: Home,
    *,
    rows: Rows = "test",
    seed: int = 0,
    out: Path,
    progress: bool = False,
) -> Evaluation:
    """Run a checkpoint and the baselines over `rows` and write what came of it.

    Args:
        checkpoint: folder of a checkpoint or of a run, whose latest it then is.
        home: where the dataset is.
        rows: `test` or `train` as in the run's config, or a half-open span of two ISO times.
        seed: of the random baseline.
        out: folder for the results; made if there is none.
        progress: show a bar on stderr.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        DataError: the dataset is missing, or not the one that the agent was trained on.
        EngineError: the engine failed, or its account and ours disagree.
    """
    policy = OnnxPolicy(Checkpoint.open(checkpoint))
    manifest = policy.checkpoint.manifest
    dataset = Dataset.find(home.datasets, manifest.data.name)
    if dataset.manifest.fingerprint != manifest.data.fingerprint:
        raise DataError(
            f"{dataset.path}: the agent was trained on fingerprint {manifest.data.fingerprint}, "
            f"found {dataset.manifest.fingerprint}"
        )
    dataset.verify()
    env = TradingEnv(
        dataset, policy.spec, manifest.venue, rows=_range(dataset, manifest, rows),
        keep_history=True,
    )  # fmt: skip
    try:
        out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be is better known before
        tracks, notes, reports = _run_all(env, policy, seed, progress)
    finally:
        env.close()
        del env
    facts = _facts(policy.checkpoint, dataset, tracks, seed, notes)
    evaluation = Evaluation(facts, tracks, out)
    _write(evaluation, reports)
    return evaluation


def run(env: TradingEnv, policy: Policy, bar: "tqdm[Any] | None" = None) -> Track:
    """Play one episode from the first row that the env allows, deterministically."""
    to_action = _translator(policy.spec)
    obs, info = env.reset(seed=0)
    points, fills = [_point(info)], []
    ended = ruined = False
    while not ended:
        obs, _, ruined, truncated, info = env.step(to_action(policy.act(obs)))
        step = len(points) - 1
        fills += [(f.ts_event_ns, f.signed_qty, f.px, f.commission, step) for f in info["fills"]]
        points.append(_point(info))
        ended = ruined or truncated
        if bar is not None:
            bar.update()
    ts, *values = zip(*points, strict=True)
    price, equity, position, fees, traded = (np.array(v, dtype=np.float64) for v in values)
    return Track(
        ts_ns=np.array(ts, dtype=np.int64),
        price=price,
        equity=equity,
        position_qty=position,
        fees=fees,
        traded=traded,
        fills=np.array(fills, dtype=np.float64).reshape(-1, 5),
        multiplier=env.dataset.manifest.instrument.multiplier,
        ruined=ruined,
    )


def _run_all(
    env: TradingEnv, policy: OnnxPolicy, seed: int, progress: bool
) -> tuple[dict[str, Track], list[str], dict[str, Any]]:
    notes: list[str] = []
    spec = policy.spec
    with tqdm(unit=" steps", desc="evaluate", disable=not progress) as bar:
        agent = run(env, policy, bar)
        reports = env.reports()
        reconcile(agent, reports["account"], spec, env.venue)
        others: dict[str, Policy] = {"flat": Constant(spec, 0.0), "hold": Constant(spec, 1.0)}
        # as often as the agent, so that it pays the same costs and differs by its choice only
        others["random"] = Random(spec, agent.trading_steps / agent.steps, seed)
        try:
            momentum = Momentum(spec)
            others["momentum"] = momentum
            notes.append(f"momentum holds the sign of the feature {momentum.feature}.")
        except SpecMismatch as e:
            notes.append(f"Without the momentum rule: {e}.")
        tracks = {AGENT: agent} | {name: run(env, other, bar) for name, other in others.items()}
    return tracks, notes, reports


def reconcile(track: Track, account: Any, spec: Spec, venue: Venue) -> None:
    """Hold the env's equity against the fills, and against the engine's own account."""
    ledger = Ledger(spec.capital, track.multiplier)
    for _, qty, px, commission, _ in track.fills:
        ledger.fill(float(qty), float(px), float(commission))
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


def _facts(
    checkpoint: Checkpoint,
    dataset: Dataset,
    tracks: dict[str, Track],
    seed: int,
    notes: list[str],
) -> Facts:
    m, agent = checkpoint.manifest, tracks[AGENT]
    venue, ts = m.venue, dataset.columns["ts_event"]
    lo = int(np.searchsorted(ts, agent.ts_ns[0]))
    metrics = {name: measure(track) for name, track in tracks.items()}
    spread = (
        "the spread of the quotes"
        if m.spec.rows == "quote"
        else f"a half spread of {venue.half_spread_bps:g} bps"
    )
    notes = [
        f"Costs: a fee of {venue.taker_fee_bps:g} bps and {spread}; an order fills on "
        f"the first quote after its latency of {venue.latency_text}.",
        f"Annual figures count {metrics[AGENT].periods_per_year:,.0f} decisions a year, the pace "
        "of these rows; no risk-free rate.",
        f"random changes its target as often as the agent traded, with seed {seed}.",
        *notes,
        "Equity is marked at the "
        + ("mid of the quotes" if m.spec.rows == "quote" else "close")
        + "; a position open at the end is not closed.",
        "One instrument, one period, one trained network: what was measured, and no promise.",
    ]
    if _overlaps(m, int(agent.ts_ns[0]), int(agent.ts_ns[-1])):
        notes.insert(0, "These rows overlap those that the agent was trained on.")
    notes += [
        f"{name} was ruined after {t.steps:,} steps." for name, t in tracks.items() if t.ruined
    ]
    return Facts(
        checkpoint=checkpoint.digest,
        algo=m.algo,
        dataset=m.data.name,
        fingerprint=m.data.fingerprint,
        instrument_id=m.spec.instrument_id,
        currency=dataset.manifest.instrument.currency,
        rows=(lo, lo + agent.steps * m.spec.every + 1),
        start=to_iso(int(agent.ts_ns[0])),
        end=to_iso(int(agent.ts_ns[-1])),
        trained=m.data.train,
        capital=m.spec.capital,
        venue=venue,
        seed=seed,
        metrics=metrics,
        notes=tuple(notes),
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


def _range(dataset: Dataset, manifest: Manifest, rows: Rows) -> tuple[int, int]:
    data = manifest.data
    if rows in ("test", "train"):
        return data.test_rows if rows == "test" else data.train_rows
    if isinstance(rows, str):
        raise DataError(f"rows: expected test, train or two ISO times, found {rows!r}")
    start_ns, end_ns = (to_ns(moment) for moment in rows)
    if start_ns >= end_ns:
        raise DataError(f"expected a start before the end, found {rows[0]} to {rows[1]}")
    lo, hi = dataset.rows_between(start_ns, end_ns)
    if hi - lo < 2:
        m = dataset.manifest
        raise DataError(
            f"{m.name}: {rows[0]} to {rows[1]} holds {hi - lo} rows; the dataset runs from "
            f"{to_iso(m.start_ns)} to {to_iso(m.end_ns)}"
        )
    return lo, hi


def _overlaps(manifest: Manifest, start_ns: int, end_ns: int) -> bool:
    train = [to_ns(x) for x in manifest.data.train]
    return start_ns < train[1] and train[0] <= end_ns


def _point(info: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        info[k] for k in ("ts_event_ns", "price", "equity", "position_qty", "fees", "traded")
    )


def _translator(spec: Spec) -> Callable[[float], Any]:
    if spec.target.kind == "continuous":
        return lambda target: np.array([target], dtype=np.float64)
    return {level: i for i, level in enumerate(spec.target.levels)}.__getitem__
