"""The live side of a pipeline: rows as they come, the same bits as from the whole dataset."""

import math

import numpy as np

from envs.features.kernel import Rows
from envs.pipeline import COLUMNS, Matrix, Pipeline, bad_input
from grid import wire
from grid.dataset import LEVELS, to_iso
from grid.errors import DataError


class Follower:
    """Takes rows one by one and gives the observation at the newest.

    Args:
        pipeline: what to compute.

    Attributes:
        rows: how many were pushed.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.rows = 0
        n, book = pipeline.lookback, pipeline.spec.book
        self._names = [c for c in COLUMNS[pipeline.spec.rows][1:] if c not in LEVELS]
        self._times_ns = np.zeros(n, dtype=np.int64)
        self._numbers = np.zeros((len(self._names), n))
        self._levels = {c: np.zeros((n, book.levels)) for c in LEVELS} if book else {}
        self._tick = book.tick if book else 0.0
        # the arrays stay where they are and rows move through them, so views are made once
        rows: Rows = {
            "ts_event": self._times_ns,
            **dict(zip(self._names, self._numbers, strict=True)),
            **self._levels,
        }
        self._calls = pipeline.calls(rows)
        self._raw = np.empty((1, len(pipeline.features)))
        self._window = np.zeros((pipeline.spec.window, len(pipeline.features)), dtype=np.float32)

    @property
    def ready(self) -> bool:
        """Whether there were rows enough for an observation."""
        return self.rows >= self.pipeline.warmup

    def push(self, row: wire.Row) -> None:
        """Take the next row.

        Raises:
            DataError: what a feature reads or gives is not finite; the message names feature and
                row. The warm-up begins anew.
        """
        times_ns, numbers = self._times_ns, self._numbers
        times_ns[:-1] = times_ns[1:]
        times_ns[-1] = row.ts_event_ns
        numbers[:, :-1] = numbers[:, 1:]
        newest = _numbers(row, self._tick)
        numbers[:, -1] = newest
        finite = math.isfinite(sum(newest))
        for name, values in self._levels.items():
            values[:-1] = values[1:]
            values[-1] = getattr(row, name)
            finite = finite and math.isfinite(sum(getattr(row, name)))
        if not finite:
            self._check_input(row, newest)
        self.rows += 1
        if self.rows < self.pipeline.lookback:
            return
        raw = self._raw
        self.pipeline.compute(self._calls, raw)
        if not np.isfinite(raw).all():
            self.rows = 0
            raise self.pipeline.not_finite(raw[0], to_iso(row.ts_event_ns))
        self._window[:-1] = self._window[1:]
        self._window[-1] = self.pipeline.normalize(raw)[0]

    def _check_input(self, row: wire.Row, newest: tuple[float, ...]) -> None:
        values = dict(zip(self._names, newest, strict=True))
        for name in self._levels:  # the first that is not finite, if any
            values[name] = next((v for v in getattr(row, name) if not math.isfinite(v)), 0.0)
        for f in self.pipeline.features:
            for name in f.declared.needs:
                if not math.isfinite(values.get(name, 0.0)):
                    self.rows = 0
                    raise bad_input(f, name, values[name], to_iso(row.ts_event_ns))

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


def _numbers(row: wire.Row, tick: float) -> tuple[float, ...]:
    """A row's numbers in the order of `COLUMNS`, levels apart."""
    match row:
        case wire.Bar():
            return row.open, row.high, row.low, row.close, row.volume
        case wire.Trade():
            return row.price, row.qty, float(row.side)
        case wire.Quote():
            mid = (row.bid_px + row.ask_px) / 2.0
            return row.bid_px, row.ask_px, row.bid_qty, row.ask_qty, mid
        case wire.Depth():
            bid_px, ask_px = row.bid_pxs[0], row.ask_pxs[0]
            mid = (bid_px + ask_px) / 2.0
            return bid_px, ask_px, row.bid_qtys[0], row.ask_qtys[0], mid, tick
