"""Small runs for tests: a dataset on disk, a config for it, a checkpoint that no one trained."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.checkpoint import Checkpoint, DataRef, Manifest
from agents.config import RunConfig
from agents.layer import random_layer
from grid.config import convert
from grid.dataset import Columns, Dataset, to_iso
from grid.home import Home
from grid.instrument import CurrencyPair, Instrument
from grid.spec import Spec, TargetRule
from grid.venue import Venue
from tests.support import markets

NAME = "tiny"


def home_with_data(
    root: Path, columns: Columns | None = None, instrument: Instrument = markets.PAIR
) -> Home:
    """A home with dataset `tiny`: 900 minute bars unless told otherwise."""
    home = Home(root)
    columns = markets.bar_columns(900) if columns is None else columns
    save(home, markets.dataset(columns, instrument, name=NAME))
    return home


def save(home: Home, data: Dataset) -> None:
    """Put a dataset in memory into a home."""
    folder = home.datasets / data.manifest.name
    (folder / "columns").mkdir(parents=True)
    for field, values in data.columns.items():
        np.save(folder / "columns" / f"{field}.npy", values)
    (folder / "dataset.json").write_bytes(msgspec.json.encode(data.manifest))


POUND = "tiny-gbp"  # a second market, by the same minutes


def home_with_markets(root: Path) -> Home:
    """A home with datasets `tiny` and `tiny-gbp`."""
    home = home_with_data(root)
    pound = CurrencyPair(
        id="GBP/USD.SIM", price_precision=5, base_currency="GBP", quote_currency="USD"
    )
    save(home, markets.dataset(markets.bar_columns(900, 1, pound), pound, POUND))
    return home


def market_tree(home: Home, kind: str, algo: str, **run: Any) -> dict[str, Any]:
    """The plain tree of a config on both markets; see `run_tree`."""
    tree = run_tree(home, "sac" if algo == "sac" else "ppo", **run)
    del tree["env"]["target"]
    tree["name"], tree["algo"]["name"] = f"{kind}-{algo}", algo
    weights = {"kind": "weights", "band": 0.1}
    orders = {"kind": "orders", "sizes": [5_000.0], "max_qty": 10_000.0, "offsets_ticks": [5, 30]}
    tree["market"] = {
        "action": weights if kind == "weights" else orders,
        "views": [{"dataset": POUND, "features": ["rsi:10"], "window": 2}],
    }
    return tree


def run_tree(home: Home, algo: str = "ppo", **run: Any) -> dict[str, Any]:
    """The plain tree of a config that trains in a second: 600 rows to learn from, 300 unseen."""
    ts = Dataset.find(home.datasets, NAME).columns["ts_event"]
    start, middle, end = (to_iso(int(ts[i])) for i in (0, 600, -1))
    algos: dict[str, dict[str, Any]] = {
        "ppo": {"n_steps": 64, "batch_size": 64, "n_epochs": 2},
        "dqn": {"batch_size": 32, "learning_starts": 50, "buffer_size": 300},
        "sac": {"batch_size": 32, "learning_starts": 50, "buffer_size": 300, "gradient_steps": 2},
    }
    return {
        "name": f"tiny-{algo}",
        "seed": 3,
        "data": {"dataset": NAME, "train": [start, middle], "test": [middle, end]},
        "env": {
            "features": ["log_return:1", "momentum:5"],
            "window": 3,
            "steps": 50,
            "target": {
                "max_qty": 10_000.0,
                "kind": "continuous" if algo == "sac" else "discrete",
            },
        },
        "algo": {"name": algo, "net": [8, 8], **algos[algo]},
        "run": {
            "total_steps": 512,
            "n_envs": 1,
            "checkpoint_every_steps": 128,
            "device": "cpu",
            **run,
        },
    }


def run_config(home: Home, algo: str = "ppo", **run: Any) -> RunConfig:
    """The config itself."""
    return convert(run_tree(home, algo, **run), RunConfig, "test")


SPEC = Spec(
    instrument_id="EUR/USD.SIM",
    rows="bar",
    bar="1-MINUTE-LAST",
    features=("log_return:1", "log_return:5", "rsi:10"),
    mean=(0.0, 1e-4, 0.0),
    std=(1e-3, 2e-3, 0.5),
    window=2,
    target=TargetRule(max_qty=10_000.0),
)


def checkpoint(
    folder: Path, spec: Spec = SPEC, seed: int = 0, said: Manifest | None = None
) -> Checkpoint:
    """A checkpoint with one random layer, written without torch."""
    files = random_layer(spec, np.random.default_rng(seed))
    files["resume/counters.json"] = b"{}"
    return Checkpoint.write(folder, said or manifest(spec), files)


def manifest(spec: Spec = SPEC, venue: Venue | None = None) -> Manifest:
    """What such a checkpoint says of itself."""
    return Manifest(
        algo="ppo",
        spec=spec,
        spec_digest=spec.digest,
        venue=venue or Venue(),
        reward="log_equity",
        reward_scale=1.0,
        data=DataRef(
            name=NAME,
            fingerprint="0" * 32,
            train=("2020-01-01", "2020-01-02"),
            train_rows=(0, 600),
            test=("2020-01-02", "2020-01-03"),
            test_rows=(600, 900),
        ),
        config={"name": "none"},
        seed=0,
        steps=128,
        segment=1,
        metrics={"mean_episode_reward": 0.5},
        versions={},
        commit="",
        platform="none",
    )


def checkpoint_on(
    home: Home, folder: Path, venue: Venue | None = None, every: int = 1, **target: Any
) -> Checkpoint:
    """Such a checkpoint for the dataset in `home`: 600 rows learned, the rest unseen."""
    data = Dataset.find(home.datasets, NAME)
    spec = markets.spec_for(data, every=every, **target)
    ts, n = data.columns["ts_event"], data.manifest.rows
    start, middle, end = (to_iso(int(ts[i])) for i in (0, 600, -1))
    said = msgspec.structs.replace(
        manifest(spec),
        venue=venue or Venue(),
        data=DataRef(
            name=NAME,
            fingerprint=data.manifest.fingerprint,
            train=(start, middle),
            train_rows=(0, 600),
            test=(middle, end),
            test_rows=(600, n),
        ),
    )
    return checkpoint(folder, spec, said=said)


def learning_tree(home: Home, train_rows: int, **run: Any) -> dict[str, Any]:
    """A config for a synthetic market: learn from the first rows, test on the rest.

    Short discount, rewards of deviation 1, rollouts of 2,048 decisions: what learns fast here.
    """
    ts = Dataset.find(home.datasets, NAME).columns["ts_event"]
    start, middle, end = (to_iso(int(ts[i])) for i in (0, train_rows, -1))
    return {
        "name": "learn",
        "seed": 0,
        "data": {"dataset": NAME, "train": [start, middle], "test": [middle, end]},
        "env": {
            "features": ["log_volume", "log_return:1"],
            "window": 2,
            "steps": 390,
            "target": {"max_qty": 1_000.0},
        },
        "venue": {"taker_fee_bps": 0.2, "half_spread_bps": 0.1},
        "algo": {"name": "ppo", "n_steps": 2048, "batch_size": 256, "n_epochs": 6},
        "run": {"n_envs": 1, "total_steps": 20_480, "checkpoint_every_steps": 20_480, **run},
    }
