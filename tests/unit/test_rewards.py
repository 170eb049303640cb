"""Rewards against closed forms, by name and by dotted path."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from envs.arrivals import Arrivals
from envs.fills import EnvFill
from envs.rewards import REWARDS, Executed, Step, find, is_unitless
from grid.errors import ConfigError

PAGE = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
CAPITAL = 1000.0


def step(before, after, peak=CAPITAL, fills=()):
    return Step(before, after, peak, CAPITAL, 0.0, fills)


def path(returns):
    """The steps of an account with these log returns."""
    equity = CAPITAL * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    return [step(a, b) for a, b in zip(equity[:-1].tolist(), equity[1:].tolist(), strict=True)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to import from; what is imported from it is forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_log_equity_and_profit():
    assert find("log_equity")(step(1000.0, 1010.0)) == pytest.approx(math.log(1.01))
    assert find("profit")(step(1010.0, 1000.0)) == pytest.approx(-0.01)


def test_log_equity_of_a_ruined_account_is_finite_and_very_low():
    assert find("log_equity")(step(1000.0, -50.0)) == pytest.approx(math.log(1e-9))


def test_drawdown_counts_only_what_is_new_below_the_peak():
    reward = find("drawdown_penalized")
    fall = step(1000.0, 900.0, peak=1000.0)
    assert reward(fall) == pytest.approx(math.log(0.9) - 0.1)
    further = step(900.0, 880.0, peak=1000.0)
    assert reward(further) == pytest.approx(math.log(880 / 900) - 0.02)
    recovery = step(900.0, 990.0, peak=1000.0)
    assert reward(recovery) == pytest.approx(math.log(990 / 900))
    assert find("drawdown_penalized:3")(fall) == pytest.approx(math.log(0.9) - 0.3)


def test_differential_sharpe_is_the_derivative_of_the_sharpe_ratio():
    # S(eta) = A / sqrt(B - A^2) with A, B after the step; D is dS/d eta at 0
    rng = np.random.default_rng(1)
    returns = rng.normal(1e-4, 1e-3, 400)
    eta = 0.05
    reward = find(f"differential_sharpe:{eta}")
    mean = square = 0.0

    def sharpe(h, r):
        a, b = mean + h * (r - mean), square + h * (r * r - square)
        return a / math.sqrt(b - a * a)

    for i, (r, s) in enumerate(zip(returns.tolist(), path(returns), strict=True)):
        found = reward(s)
        if i > 50:
            h = 1e-5
            want = (sharpe(h, r) - sharpe(-h, r)) / (2 * h)
            assert found == pytest.approx(want, rel=1e-4, abs=1e-6)
        mean, square = mean + eta * (r - mean), square + eta * (r * r - square)


def test_differential_sharpe_follows_its_closed_form_over_two_steps():
    eta, first, second = 0.1, 0.01, 0.015
    reward = find("differential_sharpe:0.1")
    one, two = path([first, second])
    assert reward(one) == 0.0  # no variance yet
    a, b = eta * first, eta * first**2
    want = (b * (second - a) - a * (second**2 - b) / 2) / (b - a * a) ** 1.5
    assert abs(want) < 10
    assert reward(two) == pytest.approx(want)


def test_differential_sharpe_forgets_on_reset_and_stays_in_bounds():
    reward = find("differential_sharpe")
    steps = path([1e-9, 5e-2, -5e-2, 0.0])
    first = [reward(s) for s in steps]
    assert first[1] == -10.0  # a second return far larger than the first
    assert reward(steps[0]) != 0.0
    reward.reset()
    assert [reward(s) for s in steps] == first


def test_differential_sharpe_of_an_idle_account_is_nothing():
    reward = find("differential_sharpe")
    assert [reward(s) for s in path([0.0] * 5)] == [0.0] * 5


def test_execution_shortfall_is_the_cost_against_the_arrival_price():
    fills = [Executed(10.0, 101.0, 100.0, 0.5, 2.0), Executed(-4.0, 99.0, 100.0, 0.25, 2.0)]
    want = -((1.0 * 10 * 2 + 0.5) + (1.0 * 4 * 2 + 0.25)) / CAPITAL
    reward = find("execution_shortfall")
    assert reward(step(1000.0, 900.0, fills=fills)) == pytest.approx(want)
    assert reward(step(1000.0, 900.0)) == 0.0
    better = [Executed(10.0, 99.0, 100.0, 0.0, 1.0)]
    assert reward(step(1000.0, 1000.0, fills=better)) == pytest.approx(0.01)


def test_fill_belongs_to_the_change_of_target_that_its_order_serves():
    def arrival(order_id):
        return arrivals.executed(EnvFill(0, 1.0, 50.5, 0.0, order_id)).arrival_px

    arrivals = Arrivals(multiplier=1.0)
    arrivals.decided(1.0, 50.0, ["first"])
    arrivals.decided(1.0, 51.0, ["again"])  # the same target: no new parent
    arrivals.decided(-1.0, 52.0, ["turn"])
    assert [arrival(name) for name in ("turn", "first", "again", "first")] == [52, 50, 50, 50]
    arrivals.begin()
    arrivals.decided(-1.0, 60.0, ["first"])
    assert arrival("first") == 60.0


def test_own_function_and_own_class_with_parameters(folder):
    (folder / "my_rewards.py").write_text(
        "def half(step, share=0.5):\n"
        "    return share * (step.equity - step.equity_before)\n\n"
        "class Count:\n"
        "    def __init__(self, start):\n        self.start = start\n        self.reset()\n"
        "    def reset(self):\n        self.n = self.start\n"
        "    def __call__(self, step):\n        self.n += 1\n        return float(self.n)\n"
    )
    assert find("my_rewards:half")(step(1000.0, 1010.0)) == 5.0
    assert find("my_rewards:half:0.25")(step(1000.0, 1010.0)) == 2.5
    count = find("my_rewards:Count:7")
    assert [count(step(1.0, 1.0)) for _ in range(2)] == [8.0, 9.0]
    count.reset()
    assert count(step(1.0, 1.0)) == 8.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("riches", "unknown reward 'riches'; there are: log_equity, profit"),
        ("profit:2", "reward 'profit:2': parameters do not fit"),
        ("drawdown_penalized:x", "parameters do not fit"),
        ("differential_sharpe:2", "expected an adaptation rate between 0 and 1, found 2"),
        ("no.such:thing", "cannot be imported: ModuleNotFoundError"),
        ("math:pi", "expected a function or a class"),
        ("math:nothing", "cannot be imported: AttributeError"),
        ("fractions:Fraction", "expected a class with __call__ and reset"),
    ],
)
def test_reward_that_cannot_be_is_refused_in_a_sentence(text, said):
    with pytest.raises(ConfigError, match=said):
        find(text)


def test_only_the_differential_sharpe_is_of_order_one_by_itself():
    assert [name for name in REWARDS if is_unitless(name)] == ["differential_sharpe"]


def test_page_names_every_reward_with_its_formula():
    assert all(f"| `{name}" in PAGE for name in REWARDS)


def test_example_of_the_page_is_a_reward(folder):
    example = PAGE.partition("```python\n")[2].partition("```")[0]
    (folder / "paged_rewards.py").write_text(example)
    traded = Step(1000.0, 1010.0, 1010.0, CAPITAL, 5000.0)
    assert find("paged_rewards:patient")(traded) == pytest.approx((10.0 - 0.25) / CAPITAL)
    assert find("paged_rewards:patient:2")(traded) == pytest.approx((10.0 - 1.0) / CAPITAL)
