"""What is left of a result when the world is a little less kind than it was in the evaluation."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import gymnasium
from msgspec.structs import replace
from tqdm import tqdm

from agents.checkpoint import Checkpoint, Manifest
from agents.episode import Rows, range_of, run, same_data
from agents.metrics import measure
from agents.policy import OnnxPolicy
from agents.scorecard import Case
from envs.delay import Delayed
from envs.made_bars import seen
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.errors import ConfigError
from grid.home import Home
from grid.venue import Venue

AS_TRAINED: Final = "as trained"


def sensitivity(
    checkpoint: Path,
    home: Home,
    *,
    rows: Rows = "test",
    siblings: Sequence[Path] = (),
    progress: bool = False,
) -> tuple[Case, ...]:
    """Return what a checkpoint is worth under other costs, later actions and other seeds.

    Args:
        checkpoint: folder of a checkpoint or a run.
        home: where the dataset is.
        rows: as for `agents.evaluation.evaluate`.
        siblings: checkpoints or runs that differ by their seed.
        progress: show a bar on stderr.

    Raises:
        CheckpointError: a checkpoint is missing or damaged.
        ConfigError: a sibling differs by more than its seed.
        DataError: the dataset is missing, or not the one that the agent was trained on.
        EngineError: the engine failed.
    """
    policy = OnnxPolicy(Checkpoint.open(checkpoint))
    manifest = policy.checkpoint.manifest
    others = [OnnxPolicy(Checkpoint.open(path)) for path in siblings]
    for other in others:
        check_sibling(other.checkpoint, policy.checkpoint)
    dataset = Dataset.find(home.datasets, manifest.data.name)
    same_data(dataset, manifest)
    dataset = seen(dataset, manifest.spec)
    span = range_of(dataset, manifest, rows)
    runs = [
        *((name, policy, venue, delay) for name, venue, delay in worlds(manifest)),
        *((f"seed {o.checkpoint.manifest.seed}", o, manifest.venue, 0) for o in others),
    ]
    found = []
    with tqdm(total=len(runs), unit=" runs", desc="sensitivity", disable=not progress) as bar:
        for name, acting, venue, delay in runs:
            found.append(_case(name, acting, dataset, venue, span, delay))
            bar.update()
    return tuple(found)


def worlds(manifest: Manifest) -> Iterator[tuple[str, Venue, int]]:
    """Yield the circumstances to try: a name, a venue, decisions by which actions are delayed."""
    venue = manifest.venue
    fees = {"taker_fee_bps": venue.taker_fee_bps, "maker_fee_bps": venue.maker_fee_bps}
    yield AS_TRAINED, venue, 0
    for times, name in ((0.0, "no fees"), (2.0, "fees x 2"), (4.0, "fees x 4")):
        yield name, replace(venue, **{k: v * times for k, v in fees.items()}), 0
    if manifest.spec.rows in ("bar", "trade"):  # others have a spread of their own
        yield "spread x 2", replace(venue, half_spread_bps=2.0 * venue.half_spread_bps), 0
    if manifest.spec.rows != "bar":  # on bars, every order fills on the next open
        yield "latency x 2", later(venue, 2.0), 0
    yield "one decision later", venue, 1


def later(venue: Venue, times: float) -> Venue:
    """Return a venue at which every order arrives so many times later."""
    return replace(
        venue,
        latency_ms=times * venue.latency_ms,
        latency_p99_ms=times * venue.latency_p99_ms,
        latency_quantiles_ms=tuple(times * ms for ms in venue.latency_quantiles_ms),
    )


def _case(
    name: str,
    policy: OnnxPolicy,
    dataset: Dataset,
    venue: Venue,
    span: tuple[int, int],
    delay: int,
) -> Case:
    try:
        env = TradingEnv(dataset, policy.spec, venue, rows=span)
    except ConfigError as e:  # a latency that the data cannot tell, say
        return Case(name=name, metrics=None, note=str(e))
    played: gymnasium.Env[Any, Any] = Delayed(env, delay) if delay else env
    try:
        return Case(name=name, metrics=measure(run(played, policy)))
    finally:
        env.close()
        del env, played  # a thread can have one engine


def check_sibling(sibling: Checkpoint, checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that differs from another by more than its seed, or not by that.

    Raises:
        ConfigError: it does.
    """
    ours, theirs = checkpoint.manifest, sibling.manifest
    if theirs.seed == ours.seed:
        raise ConfigError(f"{sibling.path}: expected another seed than {ours.seed}, found the same")
    if (theirs.spec_digest, theirs.venue, theirs.data) != (ours.spec_digest, ours.venue, ours.data):
        raise ConfigError(
            f"{sibling.path}: expected what differs from {checkpoint.digest} by its seed alone, "
            "found another spec, venue or data"
        )
