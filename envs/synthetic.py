"""Markets made by formula, whose best policy is known, and random walks, which have none.

They prove that training learns what is there, and that evaluation finds nothing where nothing is.
The best policy of a signal market holds the sign of the signal; the signal is the log of volume.
"""

import math
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Final, Literal

import numpy as np

from grid.dataset import Columns, Manifest, Quality
from grid.errors import DataError
from grid.home import Home
from grid.instrument import CurrencyPair
from grid.venue import Floats, ticks

BAR: Final = "1-MINUTE-MID"
INTERVAL_NS: Final = 60 * 10**9
START_NS: Final = 1_577_836_800 * 10**9  # 2020-01-01
START_PRICE: Final = 100.0
BASE_VOLUME: Final = 1_000.0  # volume at a signal of 0
INSTRUMENT: Final = CurrencyPair(
    id="SYN/USD.SIM",
    price_precision=5,  # a tick is 1/5,000 of the usual move of a bar: it hides no signal
    size_precision=2,
    base_currency="SYN",
    quote_currency="USD",
)


@dataclass(frozen=True)
class Market:
    """A made market and what is hidden in it.

    Attributes:
        columns: minute bars as in `grid.dataset.FIELDS`, on the ticks of `INSTRUMENT`.
        signal: float64 [n], known at the close of each bar; of mean 0 and variance 1.
        snr: correlation of the signal with the next bar's log return.
        half_life: bars after which half of a signal is left.
        vol: standard deviation of a bar's log return.
    """

    columns: Columns
    signal: Floats
    snr: float
    half_life: float
    vol: float

    @property
    def gross_per_step(self) -> float:
        """Expected log return of a bar of the best policy, before costs."""
        return gross_per_step(self.snr, self.vol)

    @property
    def flips_per_step(self) -> float:
        """Expected changes of side in a bar of the best policy."""
        return flips_per_step(self.half_life)

    def net_per_step(self, cost_per_flip: float) -> float:
        """Expected log return of a bar of the best policy, after costs; see `net_per_step`."""
        return net_per_step(self.snr, self.half_life, self.vol, cost_per_flip)


def signal(
    n: int, *, seed: int, snr: float = 0.25, half_life: float = 20.0, vol: float = 5e-4
) -> Market:
    """Return a market of `n` bars in which volume foretells the next return.

    With e and z independent standard normals and phi = 2^(-1 / half_life), the signal is
    s[t] = phi s[t-1] + sqrt(1 - phi^2) e[t], volume is `BASE_VOLUME` exp(s[t]), and the log return
    r[t+1] = vol (snr s[t] + sqrt(1 - snr^2) z[t+1]). Each open is the close before. Same seed, same
    bits.

    Raises:
        DataError: a parameter is out of its range.
    """
    bounds = {
        f"2 rows or more, found {n}": n >= 2,
        f"a seed of 0 or more, found {seed}": seed >= 0,
        f"0 <= snr <= 1, found {snr}": 0 <= snr <= 1,
        f"half_life > 0, found {half_life}": half_life > 0,
        f"0 < vol < 0.1, found {vol}": 0 < vol < 0.1,
    }
    for expected, met in bounds.items():
        if not met:
            raise DataError(f"synthetic market: expected {expected}")
    rng = np.random.Generator(np.random.PCG64(seed))
    shocks, noise, upper, lower = rng.standard_normal((4, n))
    phi = _phi(half_life)
    shocks[1:] *= math.sqrt(1.0 - phi * phi)  # so that the variance is 1 from the first bar on
    latent = np.fromiter(accumulate(shocks.tolist(), partial(_decay, phi)), np.float64, n)
    returns = vol * math.sqrt(1.0 - snr * snr) * noise
    returns[1:] += vol * snr * latent[:-1]
    close = START_PRICE * np.exp(np.cumsum(returns))
    opens = np.concatenate(([START_PRICE], close[:-1]))
    high = np.maximum(opens, close) * np.exp(0.5 * vol * np.abs(upper))
    low = np.minimum(opens, close) * np.exp(-0.5 * vol * np.abs(lower))
    prices = {"open": opens, "high": high, "low": low, "close": close}
    columns: Columns = {
        "ts_event": START_NS + INTERVAL_NS * np.arange(1, n + 1, dtype=np.int64),
        **{field: ticks(values, INSTRUMENT) for field, values in prices.items()},
        "volume": np.rint(BASE_VOLUME * np.exp(latent) * 100.0) / 100.0,
    }
    return Market(columns, latent, snr, half_life, vol)


def walk(n: int, *, seed: int, half_life: float = 20.0, vol: float = 5e-4) -> Market:
    """Return a market in which nothing foretells anything; volume looks as in `signal`."""
    return signal(n, seed=seed, snr=0.0, half_life=half_life, vol=vol)


def latent_of(columns: Columns) -> Floats:
    """Return the signal of a written market, float64 [n], from its volume."""
    latent: Floats = np.log(columns["volume"] / BASE_VOLUME)
    return latent


def gross_per_step(snr: float, vol: float) -> float:
    """Return the expected log return of a bar when the position is the sign of the signal.

    E[r[t+1] sign(s[t])] = vol snr E|s|, and E|s| = sqrt(2 / pi) for a standard normal s, the mean
    of the half-normal distribution.
    """
    return vol * snr * math.sqrt(2.0 / math.pi)


def flips_per_step(half_life: float) -> float:
    """Return how often the sign of the signal changes from one bar to the next.

    Two standard normals of correlation phi differ in sign with probability arccos(phi) / pi
    (Sheppard 1899, the orthant formula).
    """
    return math.acos(_phi(half_life)) / math.pi


def net_per_step(snr: float, half_life: float, vol: float, cost_per_flip: float) -> float:
    """Return the expected log return of a bar after costs.

    Args:
        snr: as in `signal`.
        half_life: as in `signal`.
        vol: as in `signal`.
        cost_per_flip: of going from one side to the other, as a share of the position's notional:
            twice the sum of fee and half spread.
    """
    return gross_per_step(snr, vol) - flips_per_step(half_life) * cost_per_flip


def write_synthetic(
    kind: Literal["signal", "walk"],
    name: str,
    home: Home,
    *,
    n: int = 120_000,
    seed: int = 0,
    snr: float = 0.25,
    half_life: float = 20.0,
    vol: float = 5e-4,
    replace: bool = False,
) -> Manifest:
    """Write a synthetic market as a dataset of `1-MINUTE-MID` bars of `SYN/USD.SIM`.

    Args:
        kind: `signal`, or `walk`, which takes no notice of `snr`.
        name: of the dataset.
        home: where datasets lie.
        n: bars.
        seed: of the random numbers.
        snr: as in `signal`, as for the next two.
        half_life: in bars.
        vol: of a bar's log return.
        replace: whether a dataset of that name may be there already.

    Raises:
        DataError: a parameter is out of its range, or the name is taken.
    """
    from envs.data.read import Rows  # these load the engine, which the formulas do not need
    from envs.data.write import write

    if kind not in ("signal", "walk"):
        raise DataError(f"synthetic market: signal or walk expected, found {kind!r}")
    snr = snr if kind == "signal" else 0.0
    market = signal(n, seed=seed, snr=snr, half_life=half_life, vol=vol)
    return write(
        Rows(market.columns, Quality(rows_read=n), BAR, INTERVAL_NS),
        INSTRUMENT,
        kind="bars",
        name=name,
        datasets=home.datasets,
        source=f"synthetic {kind}: seed {seed}, snr {snr:g}, half_life {half_life:g}, vol {vol:g}",
        replace=replace,
    )


def _phi(half_life: float) -> float:
    return float(2.0 ** (-1.0 / half_life))


def _decay(phi: float, value: float, shock: float) -> float:
    return phi * value + shock
