"""One episode of a policy, from the first row that its env allows to the last, and its track."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from tqdm import tqdm

from agents.checkpoint import Manifest
from agents.metrics import Track
from agents.policy import Policy, begin
from grid.dataset import Dataset, to_iso, to_ns
from grid.errors import DataError
from grid.spec import Spec

type Rows = str | tuple[str, str]


def run(env: gymnasium.Env[Any, Any], policy: Policy, bar: "tqdm[Any] | None" = None) -> Track:
    """Play one episode deterministically.

    Args:
        env: a `TradingEnv`, wrapped or not.
        policy: what acts.
        bar: is told of every step.
    """
    to_action = _translator(policy.spec)
    begin(policy)
    obs, info = env.reset(seed=0)
    points, fills, targets = [_point(info)], [], []
    ended = ruined = False
    while not ended:
        target = policy.act(obs)
        obs, _, ruined, truncated, info = env.step(to_action(target))
        step = len(points) - 1
        fills += [(f.ts_event_ns, f.signed_qty, f.px, f.commission, step) for f in info["fills"]]
        points.append(_point(info))
        targets.append(target)
        ended = ruined or truncated
        if bar is not None:
            bar.update()
    ts, *values = zip(*points, strict=True)
    price, equity, position, fees, traded = (np.array(v, dtype=np.float64) for v in values)
    market: Any = env.unwrapped
    return Track(
        ts_ns=np.array(ts, dtype=np.int64),
        price=price,
        equity=equity,
        position_qty=position,
        fees=fees,
        traded=traded,
        fills=np.array(fills, dtype=np.float64).reshape(-1, 5),
        multiplier=market.dataset.manifest.instrument.multiplier,
        ruined=ruined,
        targets=np.array(targets, dtype=np.float64),
    )


def same_data(dataset: Dataset, manifest: Manifest) -> None:
    """Refuse a dataset that is not the one an agent was trained on, or that was altered since.

    Raises:
        DataError: it is not.
    """
    same(dataset, manifest.data.fingerprint)


def same(dataset: Dataset, fingerprint: str) -> None:
    """Refuse a dataset of another fingerprint, or that was altered since.

    Raises:
        DataError: it is one.
    """
    if dataset.manifest.fingerprint != fingerprint:
        raise DataError(
            f"{dataset.path}: the agent was trained on fingerprint {fingerprint}, found "
            f"{dataset.manifest.fingerprint}"
        )
    dataset.verify()


def range_of(dataset: Dataset, manifest: Manifest, rows: Rows) -> tuple[int, int]:
    """Return the half-open range of rows that `rows` means.

    Args:
        dataset: of the agent.
        manifest: of its checkpoint.
        rows: `test` or `train` as in the run's config, or a half-open span of two ISO times.

    Raises:
        DataError: it means none, or too few.
    """
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


def _point(info: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        info[k] for k in ("ts_event_ns", "price", "equity", "position_qty", "fees", "traded")
    )


def _translator(spec: Spec) -> Callable[[float], Any]:
    if spec.target.kind == "continuous":
        return lambda target: np.array([target], dtype=np.float64)
    return {level: i for i, level in enumerate(spec.target.levels)}.__getitem__
