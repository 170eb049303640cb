"""Diagnostics of tracks small enough to be worked out by hand."""

import math

import msgspec
import numpy as np
import pytest

from agents.diagnostics.actions import actions
from agents.diagnostics.costs import costs
from agents.diagnostics.diagnosis import Diagnosis, diagnose
from agents.diagnostics.holding import holding
from agents.diagnostics.hours import hours
from agents.diagnostics.regimes import regimes, trailing
from agents.metrics import Track, periods_per_year
from grid.node.ledger import Ledger

MINUTE_NS = 60_000_000_000


def played(targets: list[float], price: list[float], fee: float = 0.0, worse: float = 0.0) -> Track:
    """A track of 10 units a target; fills follow their decision at once, `worse` than its price."""
    ledger = Ledger(1_000.0, 1.0)
    points, fills, traded = [(1_000.0, 0.0, 0.0, 0.0)], [], 0.0
    for step, target in enumerate(targets):
        qty = 10.0 * target - ledger.position_qty
        if qty:
            px = price[step] + math.copysign(worse, qty)
            ledger.fill(qty, px, fee)
            fills.append((0, qty, px, fee, step))
            traded += abs(qty) * px
        points.append((ledger.equity(price[step + 1]), ledger.position_qty, ledger.fees, traded))
    equity, position, fees, notional = np.array(points).T
    return Track(
        ts_ns=np.arange(len(points), dtype=np.int64) * 30 * MINUTE_NS,
        price=np.array(price),
        equity=equity,
        position_qty=position,
        fees=fees,
        traded=notional,
        fills=np.array(fills, dtype=np.float64).reshape(-1, 5),
        targets=np.array(targets),
    )


def test_costs_are_fees_and_worse_prices_and_profit_is_what_they_leave() -> None:
    track = played([1, 1, 0, 0], [10.0, 11.0, 12.0, 13.0, 13.0], fee=0.5, worse=0.1)
    found = costs(track, per_year=8.0)
    assert found.fees == 1.0
    assert found.shortfall == pytest.approx(2.0)  # 10 units, a tenth worse, twice
    assert found.profit == pytest.approx(17.0)
    assert found.gross == pytest.approx(20.0)  # 10 units from 10 to 12
    assert found.traded == pytest.approx(10 * 10.1 + 10 * 11.9)
    assert found.per_traded_bps == pytest.approx(1e4 * 3 / 220)
    assert found.break_even_bps == pytest.approx(1e4 * 20 / 220)
    assert found.turnover_per_year == pytest.approx(220 / track.equity.mean() / 4 * 8)


def test_costs_of_a_track_without_trades_are_nothing() -> None:
    found = costs(played([0, 0], [10.0, 11.0, 12.0]), 1.0)
    assert (found.profit, found.gross, found.per_traded_bps) == (0.0, 0.0, None)


def test_holding_counts_spells_of_one_side_and_whether_they_won() -> None:
    targets = [0, 1, 1, 0.5, -1, 0, 0, 1]
    price = [10.0, 10.0, 11.0, 12.0, 12.0, 13.0, 13.0, 13.0, 13.0]
    found = holding(played(targets, price))
    assert found.spells == 3
    assert found.won == pytest.approx(1 / 3)  # long won 2, short lost 1, the last was flat
    assert (found.mean_steps, found.median_steps, found.longest_steps) == (5 / 3, 1.0, 3)
    assert found.median_s == 1800.0
    assert (found.lengths, found.counts) == ((1, 2, 4), (2, 0, 1))
    assert (found.long, found.short) == (0.5, 0.125)
    none = holding(played([0, 0], [1.0, 1.0, 1.0]))
    assert (none.spells, none.won, none.longest_steps, none.long) == (0, None, 0, 0.0)


def test_hours_are_those_in_which_steps_begin() -> None:
    found = hours(played([1, 1, -1, 0], [10.0, 11.0, 11.0, 11.0, 11.0]))
    assert found.steps[:3] == (2, 2, 0)
    assert found.exposure[0] == pytest.approx((110 / 1000 + 110 / 1010) / 2)
    assert found.net[1] == pytest.approx(-110 / 1010 / 2)
    assert found.log_return[0] == pytest.approx(math.log(1.01))
    assert sum(found.log_return) == pytest.approx(math.log(1.01))


def test_regimes_split_by_the_volatility_known_before_each_step() -> None:
    calm, wild = [1.0, -1.0] * 60, [5.0, -5.0] * 60
    price = (1000.0 + np.cumsum([0.0, *calm, *wild, *calm])).tolist()
    track = played([0.1] * 360, price)
    found = regimes(track, periods_per_year(track.ts_ns), window=40)
    assert [r.name for r in found] == ["calm", "usual", "wild"]
    assert sum(r.steps for r in found) == 320
    assert found[2].volatility > 3 * found[0].volatility
    growth = np.diff(np.log(track.equity[40:]))
    assert sum(r.log_return for r in found) == pytest.approx(growth.sum())
    assert sum(r.market for r in found) == pytest.approx(math.log(price[-1] / price[40]))
    assert regimes(track, 1.0, window=91) == ()


def test_regimes_see_nothing_of_the_step_itself() -> None:
    moves = np.arange(1.0, 8.0)
    np.testing.assert_allclose(
        trailing(moves, 3), [np.sqrt(np.mean(moves[i - 3 : i] ** 2)) for i in range(3, 7)]
    )


def test_actions_are_levels_or_bins_and_changes_of_mind() -> None:
    found = actions(played([1, 1, 0, -1], [1.0] * 5))
    assert found is not None
    assert (found.targets, found.shares) == ((-1.0, 0.0, 1.0), (0.25, 0.25, 0.5))
    assert found.changed == pytest.approx(2 / 3)
    many = actions(played(np.linspace(-1, 1, 101).tolist(), [1.0] * 102))
    assert many is not None
    assert len(many.targets) == 20
    assert sum(many.shares) == pytest.approx(1.0)


def test_diagnosis_survives_json() -> None:
    found = diagnose(played([1, 1, 0, -1] * 40, (10 + np.sin(np.arange(161))).tolist()))
    assert len(found.regimes) == 3
    assert msgspec.json.decode(msgspec.json.encode(found), type=Diagnosis) == found
