"""A trial is one training: a configuration, on a fold, with a seed."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from agents.config import RunConfig, Span
from agents.trials.axes import Point, lay
from grid.config import convert, dump

type Scores = dict[str, float | None]


class Dates(msgspec.Struct, frozen=True):
    """A fold as ISO times, UTC: half-open spans in order of time.

    Attributes:
        train: to learn from.
        validation: to choose by.
        test: to judge by, once.
    """

    train: Span
    validation: Span
    test: Span


class Configuration(msgspec.Struct, frozen=True):
    """A point of the axes; its seeds and folds are one configuration for the statistics.

    Attributes:
        key: 8 hex digits over the whole run config without name, seed and spans.
        params: key path of the run -> value.
        parent: key of the configuration whose trials' checkpoints these begin from, if any.
        generation: of population based training.
        member: of it.
    """

    key: str
    params: Point
    parent: str = ""
    generation: int = 0
    member: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """A point that is not tried, and why."""

    params: Point
    why: str


class Trial(msgspec.Struct, frozen=True):
    """One training.

    Attributes:
        configuration: its key.
        fold: index.
        seed: of everything random in it.
    """

    configuration: str
    fold: int
    seed: int

    @property
    def id(self) -> str:
        """Its name, and that of its run."""
        return trial_id(self.configuration, self.fold, self.seed)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial came to.

    Attributes:
        digest: of the final checkpoint.
        steps: decisions taken in training, those of the initial checkpoint included.
        seconds: that its last attempt took.
        validation: figures of the final checkpoint on the validation span.
        test: the same on the test span, which nothing is chosen by.
    """

    digest: str
    steps: int
    seconds: float
    validation: Scores
    test: Scores


def trial_id(configuration: str, fold: int, seed: int) -> str:
    """Return the name of a trial; the same in every grid that has it."""
    return f"{configuration}-f{fold}-s{seed}"


def tree_of(base: Mapping[str, Any], params: Point) -> dict[str, Any]:
    """Return a run's tree at a point, with all that the trial itself sets left blank.

    Raises:
        ConfigError: a key path leads through a value.
    """
    tree = lay(base, params)
    tree["name"], tree["seed"] = "trial", 0
    return tree


def configuration(
    tree: Mapping[str, Any], params: Point, parent: str = "", generation: int = 0, member: int = 0
) -> Configuration:
    """Return the configuration that a valid tree is of."""
    whole = dump(convert(tree, RunConfig, "trial"))
    data = {k: v for k, v in whole["data"].items() if k not in ("train", "test")}
    said = [{**whole, "data": data}, parent, generation, member]
    raw = msgspec.json.encode(said, order="deterministic")
    key = hashlib.sha256(raw).hexdigest()[:8]
    return Configuration(key, params, parent, generation, member)


def run_config(
    base: Mapping[str, Any], chosen: Configuration, trial: Trial, dates: Dates, *, gpu: bool
) -> RunConfig:
    """Return the run of a trial; without a GPU it trains on the CPU, whatever its config says.

    Raises:
        ConfigError: the point makes no valid run.
    """
    tree = lay(base, chosen.params)
    tree["name"], tree["seed"] = trial.id, trial.seed
    tree["data"] = {**tree["data"], "train": list(dates.train), "test": list(dates.test)}
    if not gpu:
        tree["run"] = {**tree["run"], "device": "cpu"}
    return convert(tree, RunConfig, f"trial {trial.id}")
