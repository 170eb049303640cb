"""What a feature is: a declared kernel, one for a whole dataset and for one live row.

A kernel is a pure function of its own last `lookback` rows. Given m rows it returns the
m - lookback + 1 values that they allow; the live agent hands it exactly `lookback` rows and gets
one. The same NumPy calls run in the same order on both paths, so the bits are equal: no running
sums, nothing recursive, no `math.*` beside NumPy, no matrix product. float64 inside;
`envs.pipeline` rounds once.

What is not a number must stay so, to be refused by name: arithmetic and NumPy's sign, maximum and
heaviside pass it on, a comparison hides it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

type Floats = NDArray[np.float64]
type Rows = dict[str, NDArray[Any]]
type Kernel = Callable[..., Floats]

_SHIPPED: Final = "envs.features."


@dataclass(frozen=True)
class Declared:
    """A kernel with what must be known before it runs.

    Attributes:
        name: as in the list of features: `rsi`, or `my.module:kernel` for one's own.
        unit: of its values before normalization.
        needs: columns that it reads.
        lookback: rows that one value needs, from the parameters.
        kernel: columns and parameters to values.
        levels: levels of a book that it reads, from the parameters.
    """

    name: str
    unit: str
    needs: tuple[str, ...]
    lookback: Callable[..., int]
    kernel: Kernel
    levels: Callable[..., int]

    @property
    def params(self) -> tuple[str, ...]:
        """Names of the parameters, in their order."""
        return tuple(inspect.signature(self.kernel).parameters)[1:]

    @property
    def meaning(self) -> str:
        """The first sentence of its docstring."""
        return (inspect.getdoc(self.kernel) or "").partition("\n")[0]


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

    @property
    def levels(self) -> int:
        """Levels of a book that it reads; 0 if none."""
        return self.declared.levels(*self.params)

    def __call__(self, rows: Rows) -> Floats:
        """Return the values of m rows: float64 [m - lookback + 1]."""
        return self.declared.kernel(rows, *self.params)


REGISTRY: Final[dict[str, Declared]] = {}


def _none(*params: int) -> int:
    return 0


def feature(
    unit: str,
    needs: tuple[str, ...],
    lookback: Callable[..., int],
    levels: Callable[..., int] = _none,
) -> Callable[[Kernel], Kernel]:
    """Declare a kernel: shipped ones by their name, others as `module:name`."""

    def declare(kernel: Kernel) -> Kernel:
        module, name = kernel.__module__, kernel.__name__
        if not module.startswith(_SHIPPED):
            name = f"{module}:{name}"
        REGISTRY[name] = Declared(name, unit, needs, lookback, kernel, levels)
        return kernel

    return declare


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
    # above * 0 and not zeros: what is not a number stays so
    return np.divide(above, below, out=above * 0.0 + 0.0, where=below != 0)


def returns(rows: Rows) -> Floats:
    """Return the log returns from row to row: [m - 1]."""
    close = rows["close"]
    return np.asarray(np.log(close[1:] / close[:-1]))
