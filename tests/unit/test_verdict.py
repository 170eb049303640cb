"""The verdict on numbers: it claims nothing where nothing is, and finds what is there."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from agents.statistics.judge import judge
from agents.statistics.verdict import HOLDS, LUCK, NOTHING, WORTH, Verdict
from agents.statistics.words import listed, percent
from grid.errors import DataError

type Floats = NDArray[np.float64]

DAYS = 252.0
QUICK = {"draws": 200}


def walks(n: int, trials: int, seed: int, rho: float = 0.0) -> Floats:
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((n, 1)), rng.standard_normal((n, trials))
    return np.asarray(0.01 * (math.sqrt(rho) * common + math.sqrt(1 - rho) * own))


@pytest.mark.parametrize("rho", [0.0, 0.95])
def test_verdict_on_twenty_random_walks_claims_an_edge_in_at_most_one(rho: float) -> None:
    grids = [walks(160, 24, seed, rho) for seed in range(20)]
    grades = [judge(grid, DAYS, draws=100).grade for grid in grids]
    assert sum(grade == WORTH for grade in grades) <= 1


def test_verdict_on_a_planted_signal_finds_it_among_trials_that_lose_by_their_costs() -> None:
    grid = walks(1000, 24, 0)
    grid[:, 12:] -= 0.005  # half of the trials churn
    grid[:, 7] += 0.002
    found = judge(grid, DAYS, tried=240, baselines={"hold": walks(1000, 1, 1)[:, 0]}, **QUICK)
    assert (found.grade, found.chosen) == (WORTH, 7)
    assert found.chance < 0.001
    assert found.deflated > 0.99
    assert found.overfitting is not None
    assert found.overfitting.probability < 0.01
    assert found.sharpe.low > 1.0
    assert found.line.startswith("After 240 trials, a Sharpe ratio of 2.79 a year")
    assert any(said.startswith("216 of the trials left no record") for said in found.reasons)


def test_verdict_after_many_trials_is_luck_where_after_one_it_is_not() -> None:
    returns = walks(1000, 1, 3)
    returns += 0.0012 - returns.mean()
    alone = judge(returns, DAYS, **QUICK)
    assert alone.grade == WORTH
    assert alone.deflated == alone.psr > 0.99
    among = judge(returns, DAYS, tried=240, **QUICK)
    assert among.grade == LUCK
    assert among.line.startswith("After 240 trials, a Sharpe ratio of 1.9")
    assert "is what luck gives in " in among.line
    assert among.chance > 20 * alone.chance
    assert among.min_years is None or among.min_years > among.years


def test_verdict_that_only_holds_what_the_market_gave_is_nothing() -> None:
    market = walks(1000, 1, 4)[:, 0] + 0.002
    held = judge(market[:, None], DAYS, baselines={"hold": market}, **QUICK)
    assert held.grade == NOTHING
    assert "no better than hold" in held.line
    near = market + np.random.default_rng(0).normal(0.0001, 0.001, 1000)
    close = judge(near[:, None], DAYS, baselines={"hold": market}, **QUICK)
    assert close.grade == LUCK
    assert "a lead over hold is not sure" in close.line


def test_verdict_on_losses_and_on_trials_that_never_traded_is_nothing() -> None:
    assert judge(walks(300, 5, 0) - 0.01, DAYS, **QUICK).grade == NOTHING
    idle = judge(np.zeros((300, 2)), DAYS, **QUICK)
    assert (idle.grade, idle.sharpe.value, idle.min_years) == (NOTHING, 0.0, None)
    assert idle.line == "After 2 trials, the best Sharpe ratio is 0.00 a year: nothing found."


@pytest.mark.parametrize(
    ("edge", "hold", "grade", "said"),
    [
        (0.002, 0.0, HOLDS, "it holds."),
        (0.0, -0.001, LUCK, "it does not hold."),
        (0.002, 0.01, LUCK, "no better than hold: it does not hold."),
    ],
)
def test_verdict_with_a_holdout_holds_only_if_it_does_there(
    edge: float, hold: float, grade: str, said: str
) -> None:
    grid = walks(1000, 10, 5)
    grid[:, 0] += 0.002
    unseen, other = walks(800, 2, 6).T
    unseen += edge - unseen.mean()
    other += hold - other.mean()
    found = judge(grid, DAYS, holdout=(unseen, {"hold": other}), **QUICK)
    assert found.grade == grade
    assert found.line.endswith(said)
    assert found.holdout is not None
    assert found.holdout.years == pytest.approx(800 / DAYS)


def test_verdict_is_the_same_each_time_and_survives_json() -> None:
    one, two = (judge(walks(200, 4, 1), DAYS, seeds=3, **QUICK) for _ in range(2))
    assert one == two
    assert msgspec.json.decode(msgspec.json.encode(one), type=Verdict) == one
    assert one.reasons[-1] == "3 seeds: not enough to tell skill from a lucky seed."


@pytest.mark.parametrize(
    ("returns", "how", "said"),
    [
        (walks(5, 2, 0), {}, "expected 8 periods or more of trials, found 5"),
        (walks(50, 2, 0), {"tried": 1}, "expected at least 2 trials, found 1 tried"),
        (walks(50, 2, 0), {"baselines": {"hold": np.zeros(49)}}, "50 periods or more of hold"),
        (np.full((50, 2), np.nan), {}, "finite returns of trials"),
    ],
)
def test_verdict_on_what_is_no_record_is_refused(
    returns: Floats, how: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        judge(returns, DAYS, **how)


def test_words_say_no_more_than_is_known() -> None:
    assert [percent(p) for p in (1e-9, 0.0123, 0.3712, 0.99999)] == [
        "under 0.1 %", "1.2 %", "37 %", "over 99 %",
    ]  # fmt: skip
    assert [listed(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "", "a", "a and b", "a, b and c",
    ]  # fmt: skip
