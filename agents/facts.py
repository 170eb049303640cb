"""From the tracks of an evaluation to what is said of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.checkpoint import Checkpoint, Manifest
from agents.diagnostics.diagnosis import diagnose
from agents.metrics import Metrics, Track, measure
from agents.scorecard import AGENT, Case, Facts
from agents.statistics.confidence import confidence
from agents.statistics.judge import judge
from agents.statistics.verdict import Verdict
from grid.dataset import Dataset, to_iso, to_ns

type Floats = NDArray[np.float64]

_LEAST_PERIODS = 8


def facts(
    checkpoint: Checkpoint,
    dataset: Dataset,
    tracks: dict[str, Track],
    *,
    trained: Track | None,
    trials: int,
    seed: int,
    notes: Sequence[str],
    cases: tuple[Case, ...] = (),
    currency: str = "",
) -> Facts:
    """Return all that an evaluation says.

    Args:
        checkpoint: of the agent.
        dataset: that it was evaluated on.
        tracks: of the agent, then of its rivals.
        trained: of the agent on rows that it learned from.
        trials: configurations that were tried to find this one.
        seed: of what was drawn.
        notes: of the rivals.
        cases: under other costs.
        currency: of the account; of the dataset's instrument without it.
    """
    m, agent = checkpoint.manifest, tracks[AGENT]
    rows_ns = dataset.columns["ts_event"]
    lo = int(np.searchsorted(rows_ns, agent.ts_ns[0]))
    hi = lo + agent.steps * m.spec.every + 1
    traded: tuple[str, ...] = (m.spec.instrument_id,)
    if m.market is not None:
        hi = int(np.searchsorted(rows_ns, agent.ts_ns[-1], side="right"))
        traded = m.market.instruments
    metrics = {name: measure(track) for name, track in tracks.items()}
    seen = _overlaps(m, int(agent.ts_ns[0]), int(agent.ts_ns[-1]))
    per_year = metrics[AGENT].periods_per_year
    return Facts(
        checkpoint=checkpoint.digest,
        algo=m.algo,
        dataset=m.data.name,
        fingerprint=m.data.fingerprint,
        instrument_id=", ".join(traded),
        currency=currency or dataset.manifest.instrument.currency,
        rows=(lo, hi),
        start=to_iso(int(agent.ts_ns[0])),
        end=to_iso(int(agent.ts_ns[-1])),
        trained=m.data.train,
        capital=m.spec.capital,
        venue=m.venue,
        seed=seed,
        metrics=metrics,
        notes=_notes(m, tracks, metrics[AGENT], seen=seen, trained=trained, notes=notes),
        confidence={
            name: confidence(track.returns, per_year, seed=seed) for name, track in tracks.items()
        },
        verdict=None if seen else _verdict(tracks, per_year, trials, seed),
        training=None if trained is None else measure(trained),
        diagnosis=diagnose(agent),
        sensitivity=cases,
    )


def aligned(tracks: dict[str, Track]) -> dict[str, Floats]:
    """Return the returns of tracks that began together, float64 [n] each; ruin earns 0 for good."""
    n = max(track.steps for track in tracks.values())
    return {
        name: np.concatenate([track.returns, np.zeros(n - track.steps)])
        for name, track in tracks.items()
    }


def _verdict(tracks: dict[str, Track], per_year: float, trials: int, seed: int) -> Verdict | None:
    returns = aligned(tracks)
    own = returns.pop(AGENT)
    if len(own) < _LEAST_PERIODS or not per_year > 0:
        return None
    return judge(own[:, None], per_year, tried=trials, baselines=returns, seed=seed)


def _notes(
    m: Manifest,
    tracks: dict[str, Track],
    agent: Metrics,
    *,
    seen: bool,
    trained: Track | None,
    notes: Sequence[str],
) -> tuple[str, ...]:
    venue, on_quotes = m.venue, m.spec.rows in ("quote", "depth")
    spread = (
        "the spread of the quotes"
        if on_quotes
        else f"a half spread of {venue.half_spread_bps:g} bps"
    )
    said = ["These rows overlap those that the agent was trained on."] if seen else []
    said += [
        f"Costs: a fee of {venue.taker_fee_bps:g} bps and {spread}; an order fills on the "
        f"first quote after its latency of {venue.latency_text}.",
        *_resting(m),
        f"Annual figures count {agent.periods_per_year:,.0f} decisions a year, the pace of these "
        "rows; no risk-free rate. Intervals hold 95 of 100 such records, by the stationary "
        "bootstrap.",
        *notes,
    ]
    if trained is not None:
        said.append(
            f"in training is the agent on the last {trained.steps:,} decisions that it learned "
            f"from, to {to_iso(int(trained.ts_ns[-1]))}."
        )
    said += [
        f"Equity is marked at the {'mid of the quotes' if on_quotes else 'close'}; a position open "
        "at the end is not closed.",
        f"{_number(m)}, one period, one trained network: what was measured, and no promise.",
        *(f"{name} was ruined after {t.steps:,} steps." for name, t in tracks.items() if t.ruined),
    ]
    return tuple(said)


def _resting(m: Manifest) -> tuple[str, ...]:
    if m.market is None or not m.market.action.resting:
        return ()
    return (
        f"Limits and the legs of brackets rest at the venue, and pay {m.venue.maker_fee_bps:g} bps "
        "where others come to them.",
    )


def _number(m: Manifest) -> str:
    n = 1 if m.market is None else len(m.market.traded)
    index = ", shown as an index of equal weights with 100 at the start"
    return "One instrument" if n == 1 else f"{n} instruments{index}"


def _overlaps(manifest: Manifest, start_ns: int, end_ns: int) -> bool:
    train = [to_ns(x) for x in manifest.data.train]
    return start_ns < train[1] and train[0] <= end_ns
