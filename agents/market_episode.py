"""One episode of a policy on a market, and its track: several instruments are shown as one.

That one is an index, the geometric mean of the prices with 100 at the start; a single instrument is
itself. Positions and fills are told in units of it, so that notional, costs and the price of each
decision are what they were.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agents.checkpoint import Manifest
from agents.episode import Rows, same
from agents.market_policy import MarketPolicy
from agents.metrics import Track
from envs.fills import MarketFill
from envs.market import MarketEnv
from envs.market_recipe import market_env
from grid.dataset import Dataset, to_ns
from grid.errors import DataError
from grid.home import Home
from grid.instrument import Instrument
from grid.venue import Venue

type Floats = NDArray[np.float64]

_START: Final = 100.0  # of the index


class Played(NamedTuple):
    """An episode.

    Attributes:
        track: as one instrument.
        fills: as they were, with the number of the decision before each.
        prices: float64 [n + 1, instruments].
        instruments: in the order of the action.
        funding: paid for holding positions, in account currency.
    """

    track: Track
    fills: list[tuple[int, MarketFill]]
    prices: Floats
    instruments: list[Instrument]
    funding: float


def run(
    env: MarketEnv, policy: MarketPolicy, bar: "tqdm[Any] | None" = None, *, delay: int = 0
) -> Played:
    """Play one episode deterministically.

    Args:
        env: where.
        policy: what acts.
        bar: is told of every step.
        delay: decisions that each action waits for; until the first arrives nothing is done, and
            what has become impossible by then is not done.
    """
    policy.begin()
    obs, info = env.reset(seed=0)
    waiting = deque([np.zeros_like(env.action_space.sample())] * delay)
    infos = [info]
    fills: list[tuple[int, MarketFill]] = []
    ended = ruined = False
    while not ended:
        waiting.append(policy.act(np.asarray(obs), env.action_masks()))
        obs, _, ruined, truncated, info = env.step(waiting.popleft())
        fills += [(len(infos) - 1, fill) for fill in info["fills"]]
        infos.append(info)
        ended = ruined or truncated
        if bar is not None:
            bar.update()
    instruments = {i.id: i for i in _instruments_of(env)}
    prices = np.array([[info["prices"][i] for i in instruments] for info in infos])
    held = np.array([[info["positions"][i] for i in instruments] for info in infos])
    equity, fees, traded = (
        np.array([info[key] for info in infos], dtype=np.float64)
        for key in ("equity", "fees", "traded")
    )
    unit = np.array([i.multiplier for i in instruments.values()])
    notional = held * prices * unit
    single = len(instruments) == 1
    price = prices[:, 0] if single else _index(prices)
    multiplier = float(unit[0]) if single else 1.0
    track = Track(
        ts_ns=np.array([info["ts_event_ns"] for info in infos], dtype=np.int64),
        price=price,
        equity=equity,
        position_qty=held[:, 0] if single else notional.sum(axis=1) / price,
        fees=fees,
        traded=traded,
        fills=_as_one(fills, instruments, prices, price, multiplier),
        multiplier=multiplier,
        ruined=ruined,
        gross=np.empty(0) if single else np.abs(notional).sum(axis=1),
    )
    return Played(track, fills, prices, [*instruments.values()], infos[-1]["funding"])


def datasets_of(manifest: Manifest, home: Home, *, proved: bool = True) -> dict[str, Dataset]:
    """Return the datasets that an agent was trained on, by name.

    Args:
        manifest: of its checkpoint.
        home: where they lie.
        proved: refuse others than it was trained on.

    Raises:
        DataError: one is missing, damaged, or not the one that it was trained on.
    """
    data = manifest.data
    found = {}
    for name, fingerprint in {data.name: data.fingerprint, **data.others}.items():
        found[name] = Dataset.find(home.datasets, name)
        if proved:
            same(found[name], fingerprint)
    return found


def span_of(manifest: Manifest, rows: Rows) -> tuple[int, int]:
    """Return the half-open span of decision times that `rows` means, UNIX ns.

    Args:
        manifest: of the agent's checkpoint.
        rows: `test` or `train` as in the run's config, or two ISO times.

    Raises:
        DataError: it means none.
    """
    named = {"test": manifest.data.test, "train": manifest.data.train}
    if isinstance(rows, str) and rows not in named:
        raise DataError(f"rows: expected test, train or two ISO times, found {rows!r}")
    start, end = named[rows] if isinstance(rows, str) else rows
    if to_ns(start) >= to_ns(end):
        raise DataError(f"expected a start before the end, found {start} to {end}")
    return to_ns(start), to_ns(end)


def env_of(
    manifest: Manifest,
    datasets: Mapping[str, Dataset],
    span_ns: tuple[int, int],
    venue: Venue | None = None,
    **options: Any,
) -> MarketEnv:
    """Return the env of a checkpoint over a span, one episode long.

    Raises:
        ConfigError: the venue does not fit the data.
        DataError: the span holds too few decision times.
    """
    assert manifest.market is not None
    return market_env(
        manifest.market, datasets, venue or manifest.venue, span_ns=span_ns, **options
    )


def _instruments_of(env: MarketEnv) -> list[Instrument]:
    ids = dict.fromkeys(m.manifest.instrument.id for m in env.markets)
    known = {m.manifest.instrument.id: m.manifest.instrument for m in env.markets}
    return [known[i] for i in ids]


def _index(prices: Floats) -> Floats:
    moves: Floats = np.log(prices / prices[0]).mean(axis=1)
    return np.asarray(_START * np.exp(moves))


def _as_one(
    fills: list[tuple[int, MarketFill]],
    instruments: Mapping[str, Instrument],
    prices: Floats,
    price: Floats,
    multiplier: float,
) -> Floats:
    """Fills in units of the index: of the same notional, as far from the price decided on."""
    at = {name: i for i, name in enumerate(instruments)}
    rows = []
    for step, fill in fills:
        decided = float(prices[step, at[fill.instrument_id]])
        size = fill.signed_qty * instruments[fill.instrument_id].multiplier * decided
        rows.append((
            fill.ts_event_ns,
            size / (float(price[step]) * multiplier),
            float(price[step]) * fill.px / decided,
            fill.commission,
            step,
        ))  # fmt: skip
    return np.array(rows, dtype=np.float64).reshape(-1, 5)
