"""Features: each declared once, one kernel for a whole dataset and for one live row.

A kernel is a pure function of its own last `lookback` rows. Given m rows it returns the
m - lookback + 1 values that they allow; the live agent hands it exactly `lookback` rows and gets
one. The same NumPy calls run in the same order on both paths, so the bits are equal: no running
sums, nothing recursive, no `math.*` beside NumPy. float64 inside; `envs.pipeline` rounds once.

Write one's own: a kernel with the decorator, and its dotted path (`my.module:kernel`) in the list
of features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from grid.errors import ConfigError

type Floats = NDArray[np.float64]
type Rows = dict[str, NDArray[Any]]
type Kernel = Callable[..., Floats]

_NS_PER_DAY: Final = 86_400_000_000_000


@dataclass(frozen=True)
class Declared:
    """A kernel with what must be known before it runs.

    Attributes:
        name: as in the list of features.
        unit: of its values before normalization.
        needs: columns that it reads.
        lookback: rows that one value needs, from the parameters.
        kernel: columns and parameters to values.
    """

    name: str
    unit: str
    needs: tuple[str, ...]
    lookback: Callable[..., int]
    kernel: Kernel


@dataclass(frozen=True)
class Feature:
    """A declared kernel with its parameters, as one column of the feature matrix."""

    text: str
    declared: Declared
    params: tuple[int, ...]

    @property
    def lookback(self) -> int:
        """Rows that one value needs."""
        return self.declared.lookback(*self.params)

    def __call__(self, rows: Rows) -> Floats:
        """Return the values of m rows: float64 [m - lookback + 1]."""
        return self.declared.kernel(rows, *self.params)


REGISTRY: Final[dict[str, Declared]] = {}


def feature(
    unit: str, needs: tuple[str, ...], lookback: Callable[..., int]
) -> Callable[[Kernel], Kernel]:
    """Declare a kernel under its function's name."""

    def declare(kernel: Kernel) -> Kernel:
        name = kernel.__name__
        REGISTRY[name] = Declared(name, unit, needs, lookback, kernel)
        return kernel

    return declare


def parse(text: str) -> Feature:
    """Read `name:int:int` or `module:kernel:int` as a feature.

    Raises:
        ConfigError: the name is unknown, or the parameters do not fit it.
    """
    name, *args = text.split(":")
    if name not in REGISTRY and "." in name and args:
        kernel = args.pop(0)
        try:
            import_module(name)
        except ImportError as e:
            raise ConfigError(f"feature {text!r}: module {name} cannot be imported: {e}") from e
        name = kernel
    if name not in REGISTRY:
        raise ConfigError(f"unknown feature {name!r}; there are: {', '.join(sorted(REGISTRY))}")
    try:
        params = tuple(int(a) for a in args)
        found = Feature(text, REGISTRY[name], params)
        usable = found.lookback >= 1 and all(p >= 1 for p in params)
    except (TypeError, ValueError) as e:
        raise ConfigError(f"feature {text!r}: parameters do not fit: {e}") from e
    if not usable:
        raise ConfigError(f"feature {text!r}: parameters must be whole numbers from 1")
    return found


def windows(values: Floats, n: int) -> Floats:
    """Return the windows of n values, newest last: a view [len - n + 1, n]."""
    if len(values) == n:  # a live row: the general view costs more than all the rest
        return values.reshape(1, n)
    return sliding_window_view(values, n)


def total(w: Floats) -> Floats:
    """Return the sum of each window: [m, n] to [m]."""
    return np.asarray(np.add.reduce(w, axis=-1))


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide, with 0 where the divisor is 0: nothing moved, so there is nothing to say."""
    if below.all():
        return above / below
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _returns(rows: Rows) -> Floats:
    close = rows["close"]
    return np.asarray(np.log(close[1:] / close[:-1]))


@feature("log return", ("close",), lambda n: n + 1)
def log_return(rows: Rows, n: int) -> Floats:
    """Log return over n rows."""
    close = rows["close"]
    return np.asarray(np.log(close[n:] / close[:-n]))


@feature("log return", ("close",), lambda n: n + 1)
def volatility(rows: Rows, n: int) -> Floats:
    """Root mean square of the last n one-row log returns: realized volatility of a row."""
    return np.asarray(np.sqrt(total(np.square(windows(_returns(rows), n))) / n))


@feature("standard deviations", ("close",), lambda n: n + 1)
def momentum(rows: Rows, n: int) -> Floats:
    """Log return over n rows, in units of realized volatility over the same rows."""
    return ratio(log_return(rows, n), volatility(rows, n) * np.sqrt(float(n)))


@feature("standard deviations", ("close",), lambda n: n)
def zscore(rows: Rows, n: int) -> Floats:
    """Distance of the price from its mean over n rows, in standard deviations."""
    w = windows(rows["close"], n)
    mean = total(w) / n
    spread = np.sqrt(total(np.square(w - mean[:, None])) / n)
    # a constant price leaves a deviation of pure rounding, which must not be divided by
    spread[spread < 1e-12 * np.abs(mean)] = 0.0
    return ratio(w[:, -1] - mean, spread)


@feature("share of -1 to 1", ("close",), lambda n: n + 1)
def rsi(rows: Rows, n: int) -> Floats:
    """Relative strength over n rows, from -1 (only losses) to 1 (only gains).

    Cutler's form: simple means in place of Wilder's recursion, so that its memory is finite.
    """
    w = windows(_returns(rows), n)
    gains = total(np.maximum(w, 0.0))
    losses = total(np.maximum(-w, 0.0))
    return ratio(gains - losses, gains + losses)


@feature("log price", ("high", "low"), lambda: 1)
def bar_range(rows: Rows) -> Floats:
    """Height of the bar: log of high over low."""
    return np.asarray(np.log(rows["high"] / rows["low"]))


@feature("share of -1 to 1", ("open", "high", "low", "close"), lambda: 1)
def bar_body(rows: Rows) -> Floats:
    """Close less open, as a share of the bar's height."""
    return ratio(rows["close"] - rows["open"], rows["high"] - rows["low"])


@feature("log quantity", ("volume",), lambda: 1)
def log_volume(rows: Rows) -> Floats:
    """Log of 1 plus the volume."""
    return np.asarray(np.log1p(rows["volume"]))


@feature("standard deviations", ("volume",), lambda n: n)
def volume_zscore(rows: Rows, n: int) -> Floats:
    """Distance of log volume from its mean over n rows, in standard deviations."""
    return zscore({"close": log_volume(rows)}, n)


@feature("share of price", ("bid_px", "ask_px", "close"), lambda: 1)
def spread(rows: Rows) -> Floats:
    """Ask less bid, over the mid price."""
    return ratio(rows["ask_px"] - rows["bid_px"], rows["close"])


@feature("share of -1 to 1", ("bid_qty", "ask_qty"), lambda: 1)
def imbalance(rows: Rows) -> Floats:
    """Bid size less ask size, over both."""
    return ratio(rows["bid_qty"] - rows["ask_qty"], rows["bid_qty"] + rows["ask_qty"])


@feature("sine", ("ts_event",), lambda: 1)
def hour_sin(rows: Rows) -> Floats:
    """Time of day in UTC on a circle: its sine."""
    return np.asarray(np.sin(_day_angle(rows)))


@feature("cosine", ("ts_event",), lambda: 1)
def hour_cos(rows: Rows) -> Floats:
    """Time of day in UTC on a circle: its cosine."""
    return np.asarray(np.cos(_day_angle(rows)))


def _day_angle(rows: Rows) -> Floats:
    share = (rows["ts_event"] % _NS_PER_DAY).astype(np.float64) / _NS_PER_DAY
    return np.asarray(share * (2.0 * np.pi))
