"""From rows to observations: the same numbers in the env, in replay and in a live agent.

`Pipeline.matrix` serves a whole dataset, `envs.follower` one row at a time; both call the kernels
of `envs.features` and normalize with the statistics in the spec, fitted on training rows.
An observation is a window of feature rows, oldest first, then the account. NumPy only.
"""

import math
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from envs.features.kernel import Feature, Kernel, Rows
from envs.features.registry import expand, parse
from grid.config import checked
from grid.dataset import LEVELS, Columns, Dataset, Kind, Manifest
from grid.errors import ConfigError, DataError
from grid.spec import Book, Spec, TargetRule

type Matrix = NDArray[np.float32]
type Call = tuple[Kernel, Rows, tuple[int, ...]]  # a kernel, the rows that it reads, parameters

ACCOUNT: Final = ("position", "pending", "unrealized_pct", "equity_log_pct")
ROWS: Final[dict[Kind, Literal["bar", "quote", "trade", "depth"]]] = {
    "bars": "bar",
    "quotes": "quote",
    "trades": "trade",
    "depth": "depth",
    "deltas": "depth",
}
COLUMNS: Final = {
    "bar": ("ts_event", "open", "high", "low", "close", "volume"),
    "quote": ("ts_event", "bid_px", "ask_px", "bid_qty", "ask_qty", "close"),
    "trade": ("ts_event", "close", "volume", "side"),
    "depth": (
        "ts_event", "bid_px", "ask_px", "bid_qty", "ask_qty", "close", "tick",
        *LEVELS,
    ),
}  # fmt: skip
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
        _check_needs(self.features, spec)
        self.lookback = max(f.lookback for f in self.features)
        self.warmup = self.lookback + spec.window - 1
        self.obs_size = spec.window * len(self.features) + len(ACCOUNT)
        self._mean = np.array(spec.mean)
        self._std = np.array(spec.std)
        self._clip, self._capital = spec.clip, spec.capital
        self._max_qty = spec.target.max_qty

    def raw(self, columns: Columns, first: int = 0) -> NDArray[np.float64]:
        """Return the features before normalization: float64 [m - lookback + 1, features].

        Args:
            columns: m rows.
            first: number of the first of them, for errors.

        Raises:
            DataError: what a feature reads or gives is not finite; the message names both and row.
        """
        rows = as_rows(columns)
        if self.spec.book is not None:
            rows["tick"] = np.full(len(rows["close"]), self.spec.book.tick)
        self._check_inputs(rows, first)
        m = len(rows["ts_event"])
        values = np.empty((max(0, m - self.lookback + 1), len(self.features)))
        for i in range(0, len(values), _CHUNK_ROWS):
            part = {k: v[i : i + _CHUNK_ROWS + self.lookback - 1] for k, v in rows.items()}
            self.compute(self.calls(part), values[i : i + _CHUNK_ROWS])
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values).all(axis=1)))
            raise self.not_finite(values[row], f"row {first + row + self.lookback - 1}")
        return values

    def calls(self, rows: Rows) -> list[Call]:
        """Return each feature's kernel with views of the rows that it reads."""
        return [
            (
                f.declared.kernel,
                {k: rows[k][self.lookback - f.lookback :] for k in f.declared.needs},
                f.params,
            )
            for f in self.features
        ]

    def compute(self, calls: list[Call], out: NDArray[np.float64]) -> None:
        """Fill `out`, float64 [m, features], with what the kernels give.

        Raises:
            ConfigError: a kernel failed, or gave another number of values; its feature is named.
        """
        j = 0
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused by name
                for j, (kernel, rows, params) in enumerate(calls):
                    values = kernel(rows, *params)
                    if len(values) != len(out):  # a single one would be spread over all rows
                        raise ValueError(f"expected {len(out)} values, found {len(values)}")
                    out[:, j] = values
        except Exception as e:  # a person's own kernel may fail in any way
            raise ConfigError(
                f"feature {self.spec.features[j]!r} failed: {type(e).__name__}: {e}"
            ) from e

    def not_finite(self, values: NDArray[np.float64], where: str) -> DataError:
        """Return the error that names the first feature, of a row of them, that is not finite."""
        column = int(np.argmin(np.isfinite(values)))
        return DataError(
            f"feature {self.spec.features[column]!r} at {where}: expected a finite number, "
            f"found {values[column]}"
        )

    def _check_inputs(self, rows: Rows, first: int) -> None:
        # a kernel may hide it, by a comparison or by dividing by infinity
        for f in self.features:
            for name in f.declared.needs:
                finite = np.isfinite(rows[name])
                if not finite.all():
                    row, *level = np.unravel_index(int(np.argmin(finite)), finite.shape)
                    value = rows[name][row, *level]
                    raise bad_input(f, name, value, f"row {first + int(row)}")

    def matrix(self, columns: Columns, first: int = 0) -> Matrix:
        """Return normalized features, float32 [m - lookback + 1, features].

        Row i of it belongs to row i + lookback - 1 of the columns; `first` is for errors.
        """
        return self.normalize(self.raw(columns, first))

    def normalize(self, values: NDArray[np.float64]) -> Matrix:
        """Center, scale and clip feature values; one rounding to float32 at the end."""
        scaled = (values - self._mean) / self._std
        # half the time of np.clip on a live row
        clipped = np.minimum(np.maximum(scaled, -self._clip), self._clip)
        return np.asarray(clipped, dtype=np.float32)

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


def bad_input(found: Feature, column: str, value: float, where: str) -> DataError:
    """Return the error that names a feature whose input is not finite."""
    return DataError(
        f"feature {found.text!r} at {where}: expected a finite {column}, found {value}"
    )


def as_rows(columns: Columns) -> Rows:
    """Return a dataset's columns as kernels read them.

    Quotes and trades gain `close`, mid or price; depth gains its best level as a quote has it.
    """
    if "bid_pxs" in columns and "bid_px" not in columns:
        best = {
            name: np.ascontiguousarray(columns[f"{name}s"][:, 0])
            for name in ("bid_px", "ask_px", "bid_qty", "ask_qty")
        }
        return as_rows({**columns, **best})
    if "price" in columns:
        close, volume = columns["price"], columns["qty"]
        return {"ts_event": columns["ts_event"], "close": close, "volume": volume,
                "side": columns["side"]}  # fmt: skip
    if "bid_px" in columns:
        return {**columns, "close": (columns["bid_px"] + columns["ask_px"]) / 2.0}
    return dict(columns)


def fit(
    dataset: Dataset,
    rows: tuple[int, int],
    *,
    features: tuple[str, ...],
    window: int,
    target: TargetRule,
    every: int = 1,
    timer_s: float = 0.0,
    clip: float = 5.0,
    capital: float = 100_000.0,
) -> Spec:
    """Return the spec of agents on `dataset`, normalization fitted on rows [lo, hi) and no other.

    Raises:
        ConfigError: a feature does not fit the dataset, or the range holds too few rows.
        DataError: the dataset is of a kind that is not traded on, or a feature is not finite.
    """
    manifest = dataset.manifest
    if manifest.kind not in ROWS:
        raise DataError(
            f"{manifest.name}: expected one of {', '.join(ROWS)}, found {manifest.kind}"
        )
    features = expand(features)
    try:
        draft = Spec(
            instrument_id=manifest.instrument.id,
            rows=ROWS[manifest.kind],
            bar=manifest.bar,
            every=every,
            features=features,
            window=window,
            mean=(0.0,) * len(features),
            std=(1.0,) * len(features),
            clip=clip,
            capital=capital,
            target=target,
            book=book_of(manifest),
            timer_s=timer_s,
            bars_from=_ticks_of(dataset),
        )
    except ValueError as e:  # clocks that contradict each other, or the rows
        raise ConfigError(f"{manifest.name}: {e}") from e
    checked(draft, "spec")
    pipeline = Pipeline(draft)
    lo, hi = rows
    if not 0 <= lo < hi <= manifest.rows:
        raise DataError(
            f"{manifest.name}: training rows {lo} to {hi} of {manifest.rows} are no range"
        )
    if hi - lo < pipeline.warmup + 2:
        raise ConfigError(
            f"{manifest.name}: the training range holds {hi - lo} rows, "
            f"expected at least {pipeline.warmup + 2}"
        )
    values = pipeline.raw({k: np.asarray(v[lo:hi]) for k, v in dataset.columns.items()}, lo)
    mean, std = values.mean(axis=0), values.std(axis=0)
    flat = std <= 1e-12 * np.maximum(np.abs(mean), 1e-12)
    return Spec(
        **{f: getattr(draft, f) for f in draft.__struct_fields__ if f not in ("mean", "std")},
        mean=tuple(mean.tolist()),
        std=tuple(np.where(flat, 1.0, std).tolist()),
    )


def _ticks_of(dataset: Dataset) -> Literal["", "quote", "trade"]:
    if dataset.ticks is None:
        return ""
    return "quote" if dataset.ticks.manifest.kind == "quotes" else "trade"


def book_of(manifest: Manifest) -> Book | None:
    """Return what the rows of a dataset hold, if they are rows of depth."""
    if ROWS[manifest.kind] != "depth":
        return None
    return Book(levels=manifest.levels, tick=manifest.instrument.tick)


def _check_needs(features: list[Feature], spec: Spec) -> None:
    if not features:
        raise ConfigError("features: expected at least one, found none")
    for f in features:
        missing = [c for c in f.declared.needs if c not in COLUMNS[spec.rows]]
        if missing:
            raise ConfigError(
                f"feature {f.text!r} reads {', '.join(missing)}, which {spec.rows} rows do not have"
            )
        if spec.book is not None and f.levels > spec.book.levels:
            raise ConfigError(
                f"feature {f.text!r} reads {f.levels} levels, the rows have {spec.book.levels}"
            )
