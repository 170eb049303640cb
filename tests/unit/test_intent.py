"""From target to order."""

import msgspec
import pytest

from grid.node.intent import Intent
from grid.spec import TargetRule
from tests.support.markets import PAIR


def intent(**rule):
    return Intent(TargetRule(**{"max_qty": 1000.0, **rule}), PAIR)


@pytest.mark.parametrize(
    ("target", "position", "pending", "order"),
    [
        (1.0, 0.0, 0.0, 1000.0),
        (1.0, 1000.0, 0.0, 0.0),
        (-1.0, 1000.0, 0.0, -2000.0),
        (0.0, -1000.0, 0.0, 1000.0),
        (1.0, 0.0, 1000.0, 0.0),  # it is on its way already
        (0.0, 0.0, 1000.0, -1000.0),
        (0.3337, 0.0, 0.0, 333.0),  # whole lots, towards zero
        (-0.3337, 0.0, 0.0, -333.0),
    ],
)
def test_order_fills_the_gap_between_target_and_position(target, position, pending, order):
    assert intent().order_qty(target, position, pending) == order


def test_change_below_the_minimum_is_not_traded():
    rule = intent(kind="continuous", min_trade_qty=50.0)
    assert rule.order_qty(0.51, 500.0, 0.0) == 0.0
    assert rule.order_qty(0.55, 500.0, 0.0) == 50.0


def test_lots_of_a_fine_instrument_keep_their_decimals():
    fine = msgspec.structs.replace(PAIR, size_precision=3)
    rule = Intent(TargetRule(max_qty=0.5, kind="continuous"), fine)
    assert rule.order_qty(0.2468, 0.0, 0.0) == 0.123
    assert rule.order_qty(1.0, 0.123, 0.0) == 0.377
