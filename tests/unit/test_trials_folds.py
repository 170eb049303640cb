from typing import Any

import msgspec
import pytest

from agents.config import DataConfig
from agents.trials import folds
from agents.trials.config import Folds
from grid.dataset import to_ns
from grid.errors import ConfigError, DataError

DAY_NS = 86_400 * 10**9
DATA = (to_ns("2020-01-01"), to_ns("2020-07-01"))
BASE = DataConfig(
    dataset="d", train=("2020-01-01", "2020-03-01"), test=("2020-03-20", "2020-05-01")
)
WALK = {"kind": "rolling", "train": "60d", "validation": "10d", "test": "10d"}


def made(tree: dict[str, Any], purge_days: int = 1, embargo_days: int = 2) -> Any:
    config = msgspec.convert(tree, Folds)
    return folds.make(
        config, BASE, DATA, purge_ns=purge_days * DAY_NS, embargo_ns=embargo_days * DAY_NS
    )


@pytest.mark.parametrize("kind", ["rolling", "anchored"])
def test_folds_walk_apart_by_the_gap_and_end_before_the_holdout(kind: str) -> None:
    found, holdout = made({**WALK, "kind": kind, "holdout": "30d"})
    assert holdout == ("2020-06-01 00:00:00", "2020-07-01 00:00:00")
    assert len(found) == 7
    assert to_ns(found[-1].test[1]) == to_ns(holdout[0]) - 3 * DAY_NS
    for fold in found:
        train, check, test = (
            [to_ns(x) for x in s] for s in (fold.train, fold.validation, fold.test)
        )
        assert check[0] - train[1] == test[0] - check[1] == 3 * DAY_NS
        assert test[1] - test[0] == 10 * DAY_NS
        if kind == "anchored":
            assert train[0] == DATA[0]
        else:
            assert train[1] - train[0] == 60 * DAY_NS


def test_folds_count_takes_the_newest() -> None:
    every, _ = made(WALK)
    two, _ = made({**WALK, "count": 2})
    assert two == every[-2:]
    with pytest.raises(ConfigError, match=r"key folds\.count: expected at most 10, .* found 11"):
        made({**WALK, "count": 11})


def test_folds_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="one fold takes"):
        made({**WALK, "train": "300d"})


def test_folds_gap_as_asked() -> None:
    found, _ = made({**WALK, "purge": "none", "embargo": "5d"})
    assert to_ns(found[0].validation[0]) - to_ns(found[0].train[1]) == 5 * DAY_NS


def test_folds_none_takes_the_validation_span_from_the_end_of_training() -> None:
    (fold,), holdout = made({"kind": "none", "validation": "10d"})
    assert holdout is None
    assert fold.train == ("2020-01-01 00:00:00", "2020-02-17 00:00:00")
    assert fold.validation == ("2020-02-20 00:00:00", "2020-03-01 00:00:00")
    assert fold.test == ("2020-03-20 00:00:00", "2020-05-01 00:00:00")
    (fold,), _ = made({"kind": "none"})
    assert fold.validation == ("2020-02-18 00:00:00", "2020-03-01 00:00:00"), "a fifth"
    with pytest.raises(ConfigError, match=r"key folds\.validation: expected less than data\.train"):
        made({"kind": "none", "validation": "59d"})


@pytest.mark.parametrize("holdout", [["2020-04-30", "2020-06-01"], "90d"])
def test_folds_that_touch_the_holdout_are_refused(holdout: Any) -> None:
    with pytest.raises(ConfigError, match=r"key folds\.holdout: expected no trial to see rows"):
        made({"kind": "none", "holdout": holdout})
    with pytest.raises(ConfigError, match=r"key folds\.holdout: expected rows in"):
        made({"kind": "none", "holdout": ["2021-01-01", "2021-02-01"]})
