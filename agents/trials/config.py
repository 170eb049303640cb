"""One TOML file describes a training grid; a wrong one dies here, before anything starts."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from agents import config as runs
from agents.config import Name, RunConfig, Span
from agents.hyperparameters import Count, NonNegative, Positive, Share
from agents.trials.axes import Axis, Draw, flatten, lay
from grid import config
from grid.dataset import to_ns
from grid.errors import ConfigError, DataError

Duration = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[1-9][0-9]*(w|d|h|min)$",
        description="a whole number of w, d, h or min, as in 90d",
    ),
]
Gap = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(auto|none|[1-9][0-9]*(w|d|h|min))$",
        description="auto, none, or a whole number of w, d, h or min, as in 5d",
    ),
]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]

_UNITS_NS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "min": 60}


class _Folds(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """What all ways to split have.

    Attributes:
        holdout: span, or length at the end of the data, that only `grid finalize` opens.
        purge: left out before a later span, for rewards look ahead; `auto` is one decision.
        embargo: left out behind an earlier span, for features look back; `auto` is the longest
            warm-up of the grid's configurations.
    """

    holdout: Duration | Span | None = None
    purge: Gap = "auto"
    embargo: Gap = "auto"


class OneFold(_Folds, frozen=True, tag="none"):
    """The base's own `data.train` and `data.test`.

    Attributes:
        validation: taken from the end of `data.train`; a fifth of it by default.
    """

    validation: Duration | None = None


class _WalkForward(_Folds, frozen=True):
    """Folds that walk through time.

    Attributes:
        train: length of a training span; of the first one where anchored.
        validation: length of the span between the two, which search and pruning choose by.
        test: length of a test span, and of the way from one fold to the next.
        count: folds, the newest; as many as fit by default.
        start: of the data that is split; where all datasets have begun by default.
        end: of the data that is split, not included; where the first dataset ends by default.
    """

    train: Duration
    validation: Duration
    test: Duration
    count: Count | None = None
    start: str | None = None
    end: str | None = None


class Rolling(_WalkForward, frozen=True, tag="rolling"):
    """Training spans of one length."""


class Anchored(_WalkForward, frozen=True, tag="anchored"):
    """Training spans that all begin where the data begins."""


type Folds = OneFold | Rolling | Anchored


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to start no further trial.

    Attributes:
        trials: started.
        steps: decisions of all trials together.
        hours: that the grid has run, over all its launches.
    """

    trials: Count | None = None
    steps: Count | None = None
    hours: Positive | None = None


class _Search(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """What all searches have."""


class GridSearch(_Search, frozen=True, tag="grid"):
    """Every point of the axes."""


class RandomSearch(_Search, frozen=True, tag="random"):
    """Points at random.

    Attributes:
        configurations: to draw; none twice.
        seed: of the draws.
    """

    configurations: Count
    seed: Seed = 0


class BayesSearch(_Search, frozen=True, tag="bayes"):
    """Points by a tree-structured Parzen estimator (Bergstra et al. 2011), of Optuna.

    Attributes:
        configurations: to draw.
        batch: drawn together from what is known when the batch before has ended, so that the
            draws do not depend on who is faster.
        startup: drawn at random first.
        seed: of the draws.
    """

    configurations: Count
    batch: Count = 4
    startup: Count = 10
    seed: Seed = 0


class PbtSearch(_Search, frozen=True, tag="pbt"):
    """Population based training (Jaderberg et al. 2017), in generations.

    Attributes:
        population: members of a generation.
        generations: into which `run.total_steps` is cut.
        quantile: share of the worst, which take over weights and parameters of the best.
        factors: a number that is taken over is multiplied by one of them.
        resample: probability to draw a value anew instead.
        seed: of the draws.
    """

    population: Annotated[int, msgspec.Meta(ge=2)]
    generations: Annotated[int, msgspec.Meta(ge=2)]
    quantile: Annotated[float, msgspec.Meta(gt=0, le=0.5)] = 0.25
    factors: tuple[Positive, Positive] = (0.8, 1.25)
    resample: Share = 0.1
    seed: Seed = 0


type Search = GridSearch | RandomSearch | BayesSearch | PbtSearch


class Prune(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asynchronous successive halving (Li et al. 2020): stop the hopeless early.

    Attributes:
        kind: `asha`.
        min_steps: the first rung; the next are `reduction` times as high each.
        reduction: one in so many goes on past a rung.
    """

    kind: Literal["asha"] = "asha"
    min_steps: Count
    reduction: Annotated[int, msgspec.Meta(ge=2)] = 3


class Workers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many trials run at once, and what happens when one does not run well.

    Attributes:
        processes: trials at once; `auto` is as many as cores and GPU memory allow.
        cores: that a trial uses: threads of its network, and envs in processes of their own.
        gpu_memory_mb: that a trial may use; with 0 trials use no GPU, whatever the run says.
        retries: of a trial that died, from its last checkpoint.
        silence_s: a trial that gives no sign of life for so long is killed and tried again.
        log_lines: of a dead trial's log that are kept in the journal.
    """

    processes: Count | Literal["auto"] = "auto"
    cores: Count = 1
    gpu_memory_mb: NonNegative = 0.0
    retries: Annotated[int, msgspec.Meta(ge=0)] = 2
    silence_s: Positive = 300.0
    log_lines: Annotated[int, msgspec.Meta(ge=1, le=200)] = 12


type Objective = Literal["sharpe", "sortino", "log_return"]


class TrainingGrid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training grid, complete.

    Attributes:
        name: of the grid, and of its folder.
        base: a run, complete; in the file, the path of its TOML file or the run itself.
        axes: key path of the run -> its values.
        seeds: of every configuration; a number stands for 0, 1, 2 and so on.
        folds: spans of time to train, choose and judge on.
        exclude: tables of key paths and values; what has all values of one is left out.
        budget: when to start no further trial.
        search: how the axes are walked.
        prune: when to stop a trial early.
        workers: how many at once.
        objective: figure of the validation span that search and pruning raise.
    """

    name: Name
    base: RunConfig
    axes: dict[str, list[Any] | Draw] = {}
    seeds: Count | Annotated[list[Seed], msgspec.Meta(min_length=1)] = 1
    folds: Folds = OneFold()
    exclude: list[dict[str, Any]] = []
    budget: Budget = Budget()
    search: Search = GridSearch()
    prune: Prune | None = None
    workers: Workers = Workers()
    objective: Objective = "sharpe"

    def __post_init__(self) -> None:
        """Refuse what each key allows and the whole does not."""
        for path, axis in self.axes.items():
            if path in ("name", "seed", "data.train", "data.test") or not path:
                raise ValueError(
                    f"key axes.{path}: expected a key of the run that seeds and folds do not set"
                )
            if isinstance(axis, list) and not axis:
                raise ValueError(f"key axes.{path}: expected one value or more, found none")
        seeds = self.all_seeds
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"key seeds: expected each once, found {seeds}")
        if isinstance(self.search, PbtSearch) and self.prune is not None:
            raise ValueError("key prune: expected none with search pbt, which has its own choice")
        _check_folds(self.folds)

    @property
    def all_seeds(self) -> list[int]:
        """The seeds, one by one."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)


def load(path: Path, overrides: Iterable[str] = ()) -> TrainingGrid:
    """Read a grid's TOML file, with `section.key=value` overrides laid over it.

    A table `set` in it changes keys of the base.

    Raises:
        ConfigError: with the file and the path of the key.
    """
    tree = config.read(path)
    base = tree.get("base")
    if isinstance(base, str):
        tree["base"] = config.dump(runs.load(path.parent / base))
    changes = tree.pop("set", {})
    if not isinstance(changes, dict) or not isinstance(tree.get("base"), dict):
        raise ConfigError(f"{path}: expected a key base and, if any, a table set of the run's keys")
    tree["base"] = lay(tree["base"], flatten(changes))
    for override in overrides:  # they may reach into the base
        config.lay(tree, override)
    if isinstance(tree.get("axes"), dict):
        tree["axes"] = {k: _axis(path, k, v) for k, v in flatten(tree["axes"]).items()}
    if isinstance(tree.get("exclude"), list):
        tree["exclude"] = [flatten(e) if isinstance(e, dict) else e for e in tree["exclude"]]
    return config.convert(tree, TrainingGrid, str(path))


def _axis(path: Path, key: str, value: Any) -> Any:
    # by itself, for the key of a mapping is not in msgspec's path
    if isinstance(value, dict):
        return config.dump(config.convert(value, Draw, f"{path}: key axes.{key}"))
    if not isinstance(value, list):
        raise ConfigError(
            f"{path}: key axes.{key}: expected a list of values or a table such as "
            f"{{ uniform = [0.9, 0.99] }}, found {value!r}"
        )
    return value


def to_length_ns(duration: str) -> int:
    """Return a duration such as `90d` in nanoseconds."""
    match = re.fullmatch(r"([0-9]+)([a-z]+)", duration)
    if match is None or match[2] not in _UNITS_NS:
        raise ConfigError(f"expected a length such as 90d, 12h or 30min, found {duration!r}")
    return int(match[1]) * _UNITS_NS[match[2]] * 1_000_000_000


def _check_folds(folds: Folds) -> None:
    spans = {"holdout": folds.holdout} if isinstance(folds.holdout, tuple) else {}
    try:
        for key, (start, end) in spans.items():
            if to_ns(start) >= to_ns(end):
                raise ValueError(
                    f"key folds.{key}: expected a start before the end, found {[start, end]}"
                )
        if not isinstance(folds, OneFold):
            for key in ("start", "end"):
                if getattr(folds, key) is not None:
                    to_ns(getattr(folds, key))
    except DataError as e:
        raise ValueError(f"key folds: {e}") from e


__all__ = ["Axis", "TrainingGrid", "load", "to_length_ns"]
