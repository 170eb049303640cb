"""What a grid needs to be broken: data, a checkpoint that nobody trained, a config."""

from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from agents.checkpoint import Checkpoint, DataRef, Manifest
from agents.layer import random_layer
from envs.pipeline import fit
from envs.synthetic import write_synthetic
from grid.dataset import Dataset, to_iso
from grid.home import Home
from grid.sockets import Addresses
from grid.spec import Spec, TargetRule
from grid.venue import Venue

NAME: Final = "chaos"
STRATEGY: Final = "chaos"
CHAMPION, STANDBY, SHADOW = "alpha", "beta", "gamma"
ROWS: Final = 60_000
FIRST: Final = 600  # row of the dataset that the feed begins with
SPEED: Final = 100  # rows a second
_FEATURES: Final = ("log_return:1", "momentum:5", "volatility:10")
_LEVELS: Final = (-1.0, 0.0, 1.0)


def make(home: Home, seed: int) -> Path:
    """Write dataset and checkpoint into a home; return the checkpoint's folder."""
    write_synthetic("walk", NAME, home, n=ROWS, seed=seed)
    data = Dataset.find(home.datasets, NAME)
    rule = TargetRule(max_qty=100.0, levels=_LEVELS)
    spec = fit(data, (0, FIRST), features=_FEATURES, window=4, target=rule)
    spec_file(home).write_bytes(msgspec.json.encode(spec))
    files = random_layer(spec, np.random.default_rng(seed))
    return Checkpoint.write(home.runs / NAME / "checkpoints", _said(spec, data, seed), files).path


def spec_file(home: Home) -> Path:
    """Return where the spec is kept for those who want to say hello."""
    return home.root / "spec.json"


def write_config(
    file: Path, home: Home, checkpoint: Path, bus: Addresses, bind: Addresses | None = None
) -> None:
    """Write the grid's config: paper venue, a market that waits for nobody, three agents."""
    data = Dataset.find(home.datasets, NAME)
    start = to_iso(int(data.columns["ts_event"][FIRST]))
    agents = "".join(
        f'\n[[agents]]\nid = "{name}"\nrole = "{role}"\ncheckpoint = "{policy}"\n'
        for name, role, policy in (
            (CHAMPION, "champion", str(checkpoint)),
            (STANDBY, "standby", "baseline:momentum"),
            (SHADOW, "shadow", "baseline:random"),
        )
    )
    file.write_text(
        f'name = "{NAME}"\n{_section("bus", bus)}{_section("bind", bind) if bind else ""}'
        f'[feed]\ndataset = "{NAME}"\nstart = "{start}"\nspeed = {SPEED}\nlockstep = false\n'
        f'[node]\nstrategy_id = "{STRATEGY}"\ncheckpoint = "{checkpoint}"\nttl_ms = 300\n'
        f'lease_ttl_ms = 1000\nvenue = "paper"\n{agents}'
    )


def _section(name: str, addresses: Addresses) -> str:
    ends = "".join(f'{f} = "{getattr(addresses, f)}"\n' for f in addresses.__struct_fields__)
    return f"[{name}]\n{ends}"


def _said(spec: Spec, data: Dataset, seed: int) -> Manifest:
    first, last = to_iso(data.manifest.start_ns), to_iso(data.manifest.end_ns)
    middle = to_iso(int(data.columns["ts_event"][FIRST]))
    return Manifest(
        algo="ppo",
        spec=spec,
        spec_digest=spec.digest,
        venue=Venue(),
        reward="log_equity",
        reward_scale=1.0,
        data=DataRef(
            name=NAME,
            fingerprint=data.manifest.fingerprint,
            train=(first, middle),
            train_rows=(0, FIRST),
            test=(middle, last),
            test_rows=(FIRST, ROWS),
        ),
        config={"name": NAME},
        seed=seed,
        steps=0,
        segment=0,
        metrics={},
        versions={},
        commit="",
        platform="",
    )
