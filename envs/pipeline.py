"""From rows to observations: the same numbers in the env, in replay and in a live agent.

`Pipeline.matrix` serves a whole dataset, `Follower` one row at a time; both call the kernels of
`envs.features` and normalize with the statistics in the spec, which were fitted on training rows.
An observation is a window of feature rows, oldest first, then the account. NumPy only.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from envs.features import Feature, Rows, parse
from grid import wire
from grid.dataset import Columns, Dataset
from grid.errors import ConfigError, DataError
from grid.spec import Spec, TargetRule

type Matrix = NDArray[np.float32]

ACCOUNT: Final = ("position", "pending", "unrealized_pct", "equity_log_pct")
_CHUNK_ROWS: Final = 1 << 15  # bounds the memory of window kernels; rows do not see their chunk


class Pipeline:
    """What a spec means by an observation.

    Args:
        spec: features, normalization and window.

    Attributes:
        lookback: rows that one feature row needs.
        warmup: rows up to and including the one of the first observation.
        obs_size: numbers in an observation.

    Raises:
        ConfigError: a feature is unknown, or reads what the spec's rows do not have.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.features = [parse(text) for text in spec.features]
        _check_needs(self.features, spec.rows)
        self.lookback = max(f.lookback for f in self.features)
        self.warmup = self.lookback + spec.window - 1
        self._calls = [(f, self.lookback - f.lookback, f.declared.needs) for f in self.features]
        self.obs_size = spec.window * len(self.features) + len(ACCOUNT)
        self._mean = np.array(spec.mean)
        self._std = np.array(spec.std)
        self._clip, self._capital = spec.clip, spec.capital
        self._max_qty = spec.target.max_qty

    def raw(self, columns: Columns) -> NDArray[np.float64]:
        """Return the features before normalization: float64 [m - lookback + 1, features].

        Raises:
            DataError: a value is not finite; the message names feature and row.
        """
        rows = as_rows(columns)
        m = len(rows["ts_event"])
        parts = [
            self._raw({k: v[i : i + _CHUNK_ROWS + self.lookback - 1] for k, v in rows.items()})
            for i in range(0, m - self.lookback + 1, _CHUNK_ROWS)
        ]
        values = np.concatenate(parts) if parts else np.empty((0, len(self.features)))
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise DataError(
                f"feature {self.spec.features[column]!r} at row {row + self.lookback - 1}: "
                f"expected a finite number, found {values[row, column]}"
            )
        return values

    def matrix(self, columns: Columns) -> Matrix:
        """Return normalized features, float32 [m - lookback + 1, features].

        Row i of it belongs to row i + lookback - 1 of the columns.
        """
        return self.normalize(self.raw(columns))

    def normalize(self, values: NDArray[np.float64]) -> Matrix:
        """Center, scale and clip feature values; one rounding to float32 at the end."""
        scaled = (values - self._mean) / self._std
        return np.asarray(np.clip(scaled, -self._clip, self._clip), dtype=np.float32)

    def account(
        self, position_qty: float, pending_qty: float, unrealized: float, equity: float
    ) -> tuple[float, float, float, float]:
        """Return the account part of an observation, in the order of `ACCOUNT`, clipped.

        Position and pending are shares of `max_qty`; the other two are percent of capital.
        """
        clip, max_qty, capital = self._clip, self._max_qty, self._capital
        position = position_qty / max_qty
        pending = pending_qty / max_qty
        gain = 100.0 * unrealized / capital
        growth = 100.0 * math.log(equity / capital) if equity > 0.0 else -clip
        # spelled out: min and max cost three times as much, at every step of the env
        return (
            position if -clip <= position <= clip else math.copysign(clip, position),
            pending if -clip <= pending <= clip else math.copysign(clip, pending),
            gain if -clip <= gain <= clip else math.copysign(clip, gain),
            growth if -clip <= growth <= clip else math.copysign(clip, growth),
        )

    def _raw(self, rows: Rows) -> NDArray[np.float64]:
        m = len(rows["ts_event"]) - self.lookback + 1
        out = np.empty((m, len(self.features)))
        for j, (f, skip, needs) in enumerate(self._calls):
            out[:, j] = f({k: rows[k][skip:] for k in needs})
        return out


class Follower:
    """The live side of a pipeline: takes rows as they come, gives the observation.

    Args:
        pipeline: what to compute.

    Attributes:
        rows: how many were pushed.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.rows = 0
        n = pipeline.lookback
        names = _COLUMNS[pipeline.spec.rows]
        self._ring: Rows = {
            k: np.zeros(n, dtype=np.int64 if k == "ts_event" else np.float64) for k in names
        }
        self._window = np.zeros((pipeline.spec.window, len(pipeline.features)), dtype=np.float32)

    @property
    def ready(self) -> bool:
        """Whether there were rows enough for an observation."""
        return self.rows >= self.pipeline.warmup

    def push(self, row: wire.Bar | wire.Quote) -> None:
        """Take the next row."""
        values = _values(row)
        for name, column in self._ring.items():
            column[:-1] = column[1:]
            column[-1] = values[name]
        self.rows += 1
        if self.rows >= self.pipeline.lookback:
            self._window[:-1] = self._window[1:]
            self._window[-1] = self.pipeline.normalize(self.pipeline._raw(self._ring))[0]

    def observe(self, account: wire.Account) -> Matrix:
        """Return the observation at the newest row: float32 [obs_size].

        Raises:
            DataError: there were fewer rows than the pipeline's warm-up.
        """
        if not self.ready:
            raise DataError(f"{self.pipeline.warmup} rows needed, {self.rows} seen")
        obs = np.empty(self.pipeline.obs_size, dtype=np.float32)
        obs[: self._window.size] = self._window.ravel()
        obs[self._window.size :] = self.pipeline.account(
            account.position_qty, account.pending_qty, account.unrealized, account.equity
        )
        return obs


_COLUMNS: Final = {
    "bar": ("ts_event", "open", "high", "low", "close", "volume"),
    "quote": ("ts_event", "bid_px", "ask_px", "bid_qty", "ask_qty", "close"),
}


def as_rows(columns: Columns) -> Rows:
    """Return a dataset's columns as kernels read them: quotes gain `close`, their mid price."""
    if "bid_px" in columns:
        return {**columns, "close": (columns["bid_px"] + columns["ask_px"]) / 2.0}
    return dict(columns)


def _values(row: wire.Bar | wire.Quote) -> dict[str, float]:
    if isinstance(row, wire.Bar):
        return {
            "ts_event": row.ts_event_ns,
            "open": row.open,
            "high": row.high,
            "low": row.low,
            "close": row.close,
            "volume": row.volume,
        }
    return {
        "ts_event": row.ts_event_ns,
        "bid_px": row.bid_px,
        "ask_px": row.ask_px,
        "bid_qty": row.bid_qty,
        "ask_qty": row.ask_qty,
        "close": (row.bid_px + row.ask_px) / 2.0,
    }


def fit(
    dataset: Dataset,
    rows: tuple[int, int],
    *,
    features: tuple[str, ...],
    window: int,
    target: TargetRule,
    every: int = 1,
    clip: float = 5.0,
    capital: float = 100_000.0,
) -> Spec:
    """Return the spec of agents on `dataset`, normalization fitted on rows [lo, hi) and no other.

    Raises:
        ConfigError: a feature does not fit the dataset, or the range holds too few rows.
        DataError: the dataset is of a kind that is not traded on, or a feature is not finite.
    """
    manifest = dataset.manifest
    if manifest.kind == "trades":
        raise DataError(f"{manifest.name}: expected bars or quotes to decide on, found trades")
    draft = Spec(
        instrument_id=manifest.instrument.id,
        rows="bar" if manifest.kind == "bars" else "quote",
        bar=manifest.bar,
        every=every,
        features=features,
        window=window,
        mean=(0.0,) * len(features),
        std=(1.0,) * len(features),
        clip=clip,
        capital=capital,
        target=target,
    )
    pipeline = Pipeline(draft)
    lo, hi = rows
    if hi - lo < pipeline.warmup + 2:
        raise ConfigError(
            f"{manifest.name}: the training range holds {hi - lo} rows, "
            f"expected at least {pipeline.warmup + 2}"
        )
    values = pipeline.raw({k: np.asarray(v[lo:hi]) for k, v in dataset.columns.items()})
    mean, std = values.mean(axis=0), values.std(axis=0)
    flat = std <= 1e-12 * np.maximum(np.abs(mean), 1e-12)
    return Spec(
        **{f: getattr(draft, f) for f in draft.__struct_fields__ if f not in ("mean", "std")},
        mean=tuple(mean.tolist()),
        std=tuple(np.where(flat, 1.0, std).tolist()),
    )


def _check_needs(features: list[Feature], rows: str) -> None:
    if not features:
        raise ConfigError("features: expected at least one, found none")
    for f in features:
        missing = [c for c in f.declared.needs if c not in _COLUMNS[rows]]
        if missing:
            raise ConfigError(
                f"feature {f.text!r} reads {', '.join(missing)}, which {rows} rows do not have"
            )
